"""The circuit breaker for line_provider: after a failed call, nothing is claimed until line_provider reports SERVING.

Without it, every batch would be claimed and postponed again for as long as line_provider is unavailable.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable

import structlog

from arq_worker import metrics

log = structlog.get_logger(__name__)

FIRST_PAUSE_SECONDS = 0.1
LONGEST_PAUSE_SECONDS = 1.0


class CircuitBreaker:
    """Open before the first success and after each failure; all relays of a process share it.

    While it is open, one relay at a time probes with `is_serving`, at least once a second, and tries a call when the
    probe succeeds. The success of that call closes the breaker for all relays; its failure makes the pause longer.
    """

    def __init__(self, is_serving: Callable[[], Awaitable[bool]]) -> None:
        self._is_serving = is_serving
        self._failures = 0
        self._has_succeeded = False
        self._probing = asyncio.Lock()

    async def wait_until_closed(self) -> None:
        """Returns when a call may be tried."""
        while not self._is_closed:
            async with self._probing:
                if self._is_closed or await self._probe():
                    return

    def succeeded(self) -> None:
        """Records a call that line_provider answered, which closes the breaker."""
        if self._failures:
            log.info("line_provider_available_again")
        self._failures, self._has_succeeded = 0, True
        metrics.LINE_PROVIDER_UNAVAILABLE.set(0)

    def failed(self) -> None:
        """Records a call that failed for a reason that any call would meet, which opens the breaker."""
        self._failures += 1
        metrics.LINE_PROVIDER_UNAVAILABLE.set(1)

    @property
    def _is_closed(self) -> bool:
        return self._has_succeeded and not self._failures

    async def _probe(self) -> bool:
        if self._failures:
            pause = min(FIRST_PAUSE_SECONDS * 2 ** min(self._failures - 1, 10), LONGEST_PAUSE_SECONDS)
            # Workers that lost line_provider together must not probe it in step.
            await asyncio.sleep(pause * random.uniform(0.5, 1))  # noqa: S311
        if await self._is_serving():
            return True
        if not self._failures:
            log.warning("line_provider_unavailable")
        self.failed()
        return False
