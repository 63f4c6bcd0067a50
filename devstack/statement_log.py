"""What a PostgreSQL server is asked: every statement, by the role that sends it, as the server itself logs it."""

import asyncio
import re
from collections.abc import Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import Self

import asyncpg

from devstack.postgres import Postgres

_SETTINGS = {"log_statement": "all", "log_line_prefix": "[%u] ", "log_parameter_max_length": "0"}
# Whatever was sent as a text of its own or as the use of a prepared statement.
_LOGGED = re.compile(r"\[(?P<role>\w*)\] LOG:  (?:statement|execute [^:]*): (?P<text>.*(?:\n\t.*)*)")


@dataclass(frozen=True, slots=True)
class Statement:
    role: str
    text: str


class StatementLog:
    """Logs while it is entered. The text of a statement is in one line, whatever its blanks were."""

    def __init__(self, postgres: Postgres) -> None:
        self._postgres = postgres
        self._begin = 0

    async def __aenter__(self) -> Self:
        connection = await self._postgres.connect()
        try:
            for name, value in _SETTINGS.items():
                await connection.execute(f"ALTER SYSTEM SET {name} = '{value}'")
            await self._reload(connection, _SETTINGS["log_statement"])
        finally:
            await connection.close()
        self.forget()
        return self

    async def __aexit__(
        self, error_type: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        connection = await self._postgres.connect()
        try:
            for name in _SETTINGS:
                await connection.execute(f"ALTER SYSTEM RESET {name}")
            await self._reload(connection, "none")
        finally:
            await connection.close()

    def forget(self) -> None:
        """Leaves out what was logged until now."""
        self._begin = self._postgres.log.stat().st_size

    def statements(self) -> Iterator[Statement]:
        """In the order in which the server began with them."""
        with self._postgres.log.open("rb") as log:
            log.seek(self._begin)
            logged = log.read().decode()
        for match in _LOGGED.finditer(logged):
            yield Statement(match["role"], " ".join(match["text"].split()))

    async def _reload(self, connection: "asyncpg.Connection[asyncpg.Record]", expected: str) -> None:
        """Returns once every session goes by the settings: old ones are told before a new one is let in."""
        await connection.execute("SELECT pg_reload_conf()")
        while True:
            newcomer = await self._postgres.connect()
            try:
                if await newcomer.fetchval("SHOW log_statement") == expected:
                    return
            finally:
                await newcomer.close()
            await asyncio.sleep(0.02)
