"""Group commit: submissions that arrive while a transaction is running share the next one.

A group is one statement, and so a transaction by itself: one round trip to the server. Nobody waits for company: an
idle service commits a lone submission at once. Each caller is answered after the commit that holds its own submission.
One transaction at a time keeps one rater's submissions on one event in order.
"""

import asyncio
from collections.abc import Sequence
from contextlib import suppress

import structlog
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from score_maker.ratings import accept, metrics
from score_maker.ratings.accept import Submission
from score_maker.ratings.domain import Outcome, Score
from scoreline_common.database import autocommit, is_unreachable

log = structlog.get_logger(__name__)


class Unavailable(Exception):
    """The submission was not acknowledged and may be repeated: the database is unreachable, or too many wait."""


class _Waiting:
    __slots__ = ("answer", "key", "submission")

    def __init__(self, submission: Submission) -> None:
        self.submission = submission
        # Comparing integers takes a fraction of the time that comparing UUIDs takes.
        self.key = submission.event_id, submission.rater_id.int
        self.answer: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()


class GroupCommit:
    """Commits submissions in groups of at most `max_group`, and rejects what exceeds `max_waiting`.

    `accepted` counts the submissions that were written.
    """

    def __init__(self, engine: AsyncEngine, *, max_group: int = 1_000, max_waiting: int = 10_000) -> None:
        self._engine = engine
        self._connection: AsyncConnection | None = None
        self._max_group = max_group
        self._max_waiting = max_waiting
        self._waiting: list[_Waiting] = []
        self._arrival = asyncio.Event()
        self._closing = False
        self.accepted = 0

    async def run(self) -> None:
        """Commits groups until `close` was called and nothing waits any more."""
        try:
            while True:
                await self._arrival.wait()
                while group := self._next_group():
                    await self._commit(group)
                self._arrival.clear()
                if self._closing:
                    return
        finally:
            # Whatever ends this task, nobody is to wait for an answer that never comes.
            self._closing = True
            _fail(self._waiting, Unavailable())
            await self._disconnect()

    def close(self) -> None:
        """Accepts no more submissions and lets `run` end once those that wait are committed."""
        self._closing = True
        self._arrival.set()

    async def submit(self, submission: Submission) -> Outcome:
        """Returns after the commit. Raises Unavailable if the submission was not acknowledged."""
        if self._closing or len(self._waiting) >= self._max_waiting:
            raise Unavailable
        waiting = _Waiting(submission)
        self._waiting.append(waiting)
        self._arrival.set()
        return await waiting.answer

    def _next_group(self) -> list[_Waiting]:
        """Takes the submissions that waited longest, one per score; a second one on the same score waits its turn."""
        group: dict[tuple[int, int], _Waiting] = {}
        rest: list[_Waiting] = []
        for waiting in self._waiting:
            if waiting.answer.done():  # its caller is gone, and nothing was promised
                continue
            if len(group) < self._max_group and waiting.key not in group:
                group[waiting.key] = waiting
            else:
                rest.append(waiting)
        self._waiting = rest
        return list(group.values())

    async def _commit(self, group: Sequence[_Waiting]) -> None:
        try:
            connection = await self._connected()
            outcomes = await accept.submit(connection, [waiting.submission for waiting in group])
        except Exception as error:  # noqa: BLE001 - each caller gets it, and the next group its chance
            await self._disconnect()
            await self._after_failure(group, error)
        except BaseException:
            _fail(group, Unavailable())
            raise
        else:
            metrics.GROUP_SIZE.observe(len(group))
            self.accepted += sum(1 for outcome in outcomes if isinstance(outcome, Score))
            for waiting, outcome in zip(group, outcomes, strict=True):
                if not waiting.answer.done():
                    waiting.answer.set_result(outcome)

    async def _connected(self) -> AsyncConnection:
        """Returns the connection that is kept for this, so that no group waits for one while others read."""
        if self._connection is not None:
            driver = (await self._connection.get_raw_connection()).driver_connection
            if driver is not None and not driver.is_closed():
                return self._connection
            await self._disconnect()
        self._connection = await autocommit(self._engine)
        return self._connection

    async def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(SQLAlchemyError, OSError, TimeoutError):
                await connection.close()

    async def _after_failure(self, group: Sequence[_Waiting], error: Exception) -> None:
        if is_unreachable(error):
            log.warning("database_unreachable", error=str(error))
            _fail(group, Unavailable())
        elif len(group) > 1 and isinstance(error, DBAPIError):
            # The statement was refused because of one of them: alone, each gets the answer that is its own.
            for waiting in group:
                await self._commit([waiting])
        else:
            _fail(group, error)


def _fail(group: Sequence[_Waiting], error: Exception) -> None:
    for waiting in group:
        if not waiting.answer.done():
            waiting.answer.set_exception(error)
