"""What a PostgreSQL server is asked: every statement, by the role that sends it, as the server itself logs it."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import Self

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
        await self._postgres.alter_system(_SETTINGS)
        self.forget()
        return self

    async def __aexit__(
        self, error_type: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._postgres.alter_system(dict.fromkeys(_SETTINGS))

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
