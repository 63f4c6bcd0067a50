"""Waiting for the saga: requests with `Prefer: wait` are answered when line_provider has decided on the submission.

One connection listens for every commit that settles scores; after it, one statement reads all scores that are awaited.
So a waiter costs a little memory and no connection, however many there are. A slow poll finds what was settled while
the connection was lost.
"""

import asyncio
import time
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Never
from uuid import UUID

import structlog
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine

from score_maker.ratings import queries
from score_maker.ratings.domain import Score, is_decided
from score_maker.storage import channels
from scoreline_common.database import autocommit, is_unreachable
from scoreline_common.listen import listen

log = structlog.get_logger(__name__)

POLL_SECONDS = 1


@dataclass(eq=False, slots=True)
class _Waiter:
    """`seen` is the score as it was last read; `version` is the submission that is waited for."""

    seen: Score
    version: int
    released: asyncio.Future[None] = field(default_factory=lambda: asyncio.get_running_loop().create_future())

    @property
    def key(self) -> tuple[int, UUID]:
        return self.seen.event_id, self.seen.rater_id

    def see(self, score: Score) -> None:
        self.seen = score
        if is_decided(score, self.version):
            self.release()

    def release(self) -> None:
        if not self.released.done():
            self.released.set_result(None)


class SettlementWaiters:
    """Lets at most `max_waiting` requests wait. `run` never returns."""

    def __init__(self, engine: AsyncEngine, database_url: str, *, max_waiting: int) -> None:
        self._engine = engine
        self._database_url = database_url
        self._max_waiting = max_waiting
        self._is_closed = False
        self._waiters: set[_Waiter] = set()
        # Waiters that came after the last notification: it may already have been about theirs.
        self._newcomers: list[_Waiter] = []
        self._something_settled = False
        self._wake = asyncio.Event()

    @property
    def waiting(self) -> int:
        """How many requests wait now."""
        return len(self._waiters)

    async def run(self) -> Never:
        async with asyncio.TaskGroup() as group:
            group.create_task(self._listen())
            group.create_task(self._keep_reading())
        raise AssertionError("its tasks never end")

    async def wait(self, score: Score, seconds: float, *, unless: "asyncio.Future[None]") -> Score:
        """Returns the score once its version is decided or a later one has replaced it.

        Returns it as it was last seen if the time is over or `unless` is done first, if too many wait already, or if
        the service stops.
        """
        if is_decided(score, score.version) or self._is_closed or len(self._waiters) >= self._max_waiting:
            return score
        waiter = _Waiter(score, score.version)
        self._waiters.add(waiter)
        self._newcomers.append(waiter)
        self._wake.set()
        try:
            await asyncio.wait({waiter.released, unless}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._waiters.discard(waiter)
        return waiter.seen

    def close(self) -> None:
        """Releases all waiters, because the service stops."""
        self._is_closed = True
        for waiter in self._waiters:
            waiter.release()

    async def _listen(self) -> Never:
        await listen(
            self._database_url,
            channels.SETTLED,
            on_notification=lambda _: self._on_settled(),
            on_connected=self._on_settled,
        )

    def _on_settled(self) -> None:
        self._something_settled = True
        self._wake.set()

    async def _keep_reading(self) -> Never:
        while True:
            awaited = await self._next_to_read()
            if not awaited:
                continue
            started = time.monotonic()
            try:
                await self._read(awaited)
            except (SQLAlchemyError, OSError, TimeoutError) as error:
                if is_unreachable(error):
                    log.warning("database_unreachable", error=str(error))
                else:
                    log.exception("settlements_unread")
                self._something_settled = True
                await asyncio.sleep(POLL_SECONDS)
            else:
                # There may be hundreds of commits a second: those that come meanwhile share the next read, and reading
                # takes at most half of the time.
                await asyncio.sleep(time.monotonic() - started)

    async def _next_to_read(self) -> Collection[_Waiter]:
        is_poll = False
        try:
            async with asyncio.timeout(POLL_SECONDS if self._waiters else None):
                await self._wake.wait()
        except TimeoutError:
            is_poll = True
        self._wake.clear()
        newcomers, self._newcomers = self._newcomers, []
        something_settled, self._something_settled = self._something_settled, False
        if something_settled or is_poll:
            return list(self._waiters)
        return [waiter for waiter in newcomers if waiter in self._waiters]

    async def _read(self, awaited: Collection[_Waiter]) -> None:
        async with autocommit(self._engine) as connection:
            found = await queries.get_each(connection, {waiter.key for waiter in awaited})
        for waiter in awaited:
            if score := found.get(waiter.key):
                waiter.see(score)
