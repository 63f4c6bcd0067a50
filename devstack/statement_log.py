"""The statements that a PostgreSQL server executes, each with the role that sent it, from the server's own log."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from devstack.postgres import Postgres

_SETTINGS = {"log_statement": "all", "log_line_prefix": "[%u] ", "log_parameter_max_length": "0"}
# Both forms in which the server logs a statement: simple queries, and executions of a prepared statement.
_LOGGED = re.compile(r"\[(?P<role>\w*)\] LOG:  (?:statement|execute [^:]*): (?P<text>.*(?:\n\t.*)*)")


@dataclass(frozen=True, slots=True)
class Statement:
    role: str
    text: str


class StatementLog:
    """A context manager: the server logs statements between entering and leaving. The text of a statement is one line,
    with single spaces in place of other white space."""

    def __init__(self, postgres: Postgres) -> None:
        self._postgres = postgres
        self._begin = 0

    async def __aenter__(self) -> Self:
        await self._postgres.alter_system(_SETTINGS)
        self.clear()
        return self

    async def __aexit__(
        self, error_type: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._postgres.alter_system(dict.fromkeys(_SETTINGS))

    def clear(self) -> None:
        """Drops the statements that were logged so far."""
        self._begin = self._postgres.log.stat().st_size

    def statements(self) -> Iterator[Statement]:
        """The logged statements, in the order in which the server began to execute them."""
        with self._postgres.log.open("rb") as log:
            log.seek(self._begin)
            logged = log.read().decode()
        for match in _LOGGED.finditer(logged):
            yield Statement(match["role"], " ".join(match["text"].split()))
