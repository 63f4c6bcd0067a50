"""Sparing a line_provider that cannot serve: after a failure nothing is claimed for it until it says that it can."""

import asyncio
import random
from collections.abc import Awaitable, Callable

import structlog

from arq_worker import metrics

log = structlog.get_logger(__name__)

FIRST_PAUSE_SECONDS = 0.1
LONGEST_PAUSE_SECONDS = 1.0


class CircuitBreaker:
    """Open after a failure and before the first success; shared by all relays of a process.

    While it is open, one relay at a time asks `is_serving`, a second apart at most, and goes on once that is so: its
    success closes the breaker for all, its failure makes the pause longer.
    """

    def __init__(self, is_serving: Callable[[], Awaitable[bool]]) -> None:
        self._is_serving = is_serving
        self._failures = 0
        self._heard = False
        self._probing = asyncio.Lock()

    async def wait_until_closed(self) -> None:
        """Returns when a call may be tried."""
        while not self._closed:
            async with self._probing:
                if self._closed or await self._probe():
                    return

    def succeeded(self) -> None:
        if self._failures:
            log.info("line_provider_is_back")
        self._failures, self._heard = 0, True
        metrics.LINE_PROVIDER_AWAY.set(0)

    def failed(self) -> None:
        self._failures += 1
        metrics.LINE_PROVIDER_AWAY.set(1)

    @property
    def _closed(self) -> bool:
        return self._heard and not self._failures

    async def _probe(self) -> bool:
        if self._failures:
            pause = min(FIRST_PAUSE_SECONDS * 2 ** min(self._failures - 1, 10), LONGEST_PAUSE_SECONDS)
            await asyncio.sleep(pause * random.uniform(0.5, 1))  # noqa: S311
        if await self._is_serving():
            return True
        if not self._failures:
            log.warning("line_provider_is_away")
        self.failed()
        return False
