"""Tells any number of listeners what changes in the catalog, at a cost that does not depend on how slow they are.

A listener is a position and nothing else: it asks for what has changed after it, whenever it is ready to, and gets
each event's latest state once. Positions mean something in the process that gave them only, so they carry its epoch.
"""

import asyncio
from contextlib import suppress
from datetime import UTC, datetime
from secrets import token_hex
from typing import Never

from score_maker.events.catalog import EventCatalog, EventChange

# Changes that come faster are told together: all listeners are woken at most so often.
TELL_SECONDS = 0.1
# A clock that is set is noticed after so long at most.
CLOCK_CHECK_SECONDS = 30


class EventChanges:
    """`run` never returns; without it listeners are told nothing."""

    def __init__(self, catalog: EventCatalog) -> None:
        self.is_closed = False
        self._catalog = catalog
        self._epoch = token_hex(4)
        self._told = catalog.position
        self._tell = asyncio.Event()

    def token(self, position: int) -> str:
        """The position as clients keep it."""
        return f"{self._epoch}-{position}"

    def position(self, token: str) -> int | None:
        """The position that the token stands for; None where that was another process's, or is unknown here."""
        epoch, _, number = token.partition("-")
        if epoch != self._epoch or not number.isdecimal() or not self._catalog.knows_position(int(number)):
            return None
        return int(number)

    def after(self, position: int, *, limit: int) -> list[EventChange]:
        """The first changes after the position that listeners are told of by now."""
        return self._catalog.changes(position, until=self._told, limit=limit)

    async def wait(self, position: int, seconds: float) -> bool:
        """Waits until there is something after the position, or the service ends; False where neither came in time."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while self._told <= position and not self.is_closed:
                    await self._tell.wait()
                return True
        return False

    def close(self) -> None:
        """Wakes all listeners: the service ends."""
        self.is_closed = True
        self._wake()

    async def run(self) -> Never:
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(self._seconds_to_next_deadline()):
                    await self._catalog.has_changed.wait()
            self._catalog.advance()
            self._catalog.has_changed.clear()
            if self._told != self._catalog.position:
                self._told = self._catalog.position
                self._wake()
                await asyncio.sleep(TELL_SECONDS)

    def _seconds_to_next_deadline(self) -> float:
        deadline = self._catalog.next_deadline()
        if deadline is None:
            return CLOCK_CHECK_SECONDS
        # An event is still open at its very deadline.
        seconds = (deadline - datetime.now(UTC)).total_seconds() + 0.001
        return min(max(seconds, 0.001), CLOCK_CHECK_SECONDS)

    def _wake(self) -> None:
        woken, self._tell = self._tell, asyncio.Event()
        woken.set()
