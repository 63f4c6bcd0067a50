"""Broadcasts changes of the catalog to any number of subscribers, at a cost that does not depend on how slow they are.

A subscriber is a position and nothing else: when it is ready, it asks for what has changed after that position, and
gets the latest state of each changed event once. Positions are valid only in the process that issued them, so they
carry its epoch.
"""

import asyncio
from contextlib import suppress
from datetime import UTC, datetime
from secrets import token_hex
from typing import Never

from score_maker.events.catalog import EventCatalog, EventChange

# Changes that follow each other faster are published together: subscribers wake at most this often.
PUBLISH_SECONDS = 0.1
# A system clock that was set is noticed after this long at most.
CLOCK_CHECK_SECONDS = 30


class EventBroadcast:
    """`run` never returns; without it nothing is published."""

    def __init__(self, catalog: EventCatalog) -> None:
        self.is_closed = False
        self._catalog = catalog
        self._epoch = token_hex(4)
        self._published = catalog.position
        self._publication = asyncio.Event()
        self._catalog_changed = asyncio.Event()
        catalog.subscribe(self._catalog_changed.set)

    def token(self, position: int) -> str:
        """Returns the position as clients keep it."""
        return f"{self._epoch}-{position}"

    def position(self, token: str) -> int | None:
        """Returns the position in the token; None if another process issued it, or if it is too old to be known."""
        epoch, _, number = token.partition("-")
        if epoch != self._epoch or not number.isdecimal() or not self._catalog.knows_position(int(number)):
            return None
        return int(number)

    def after(self, position: int, *, limit: int) -> list[EventChange]:
        """Returns the first published changes after the position."""
        return self._catalog.changes(position, until=self._published, limit=limit)

    async def wait(self, position: int, seconds: float) -> bool:
        """Waits until something after the position is published or the service stops; returns False on timeout."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while self._published <= position and not self.is_closed:
                    await self._publication.wait()
                return True
        return False

    def close(self) -> None:
        """Wakes all subscribers, because the service stops."""
        self.is_closed = True
        self._wake_subscribers()

    async def run(self) -> Never:
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(self._seconds_to_next_deadline()):
                    await self._catalog_changed.wait()
            self._catalog.advance()
            self._catalog_changed.clear()
            if self._published != self._catalog.position:
                self._published = self._catalog.position
                self._wake_subscribers()
                await asyncio.sleep(PUBLISH_SECONDS)

    def _seconds_to_next_deadline(self) -> float:
        deadline = self._catalog.next_deadline()
        if deadline is None:
            return CLOCK_CHECK_SECONDS
        # An event is still open at its very deadline.
        seconds = (deadline - datetime.now(UTC)).total_seconds() + 0.001
        return min(max(seconds, 0.001), CLOCK_CHECK_SECONDS)

    def _wake_subscribers(self) -> None:
        woken, self._publication = self._publication, asyncio.Event()
        woken.set()
