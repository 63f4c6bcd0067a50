"""The relay: claims a batch from score_maker's outbox, asks line_provider to apply it, and settles by its verdicts.

A verdict ends a message. Anything else (a timeout, a broken connection, a failing server) leaves the outcome unknown,
and the relay asks again, for as long as it takes: line_provider applies a version at most once and repeats its verdict.
A failure that any batch would meet opens the circuit breaker (see circuit_breaker.py). A failure that one message
causes delays that message alone, longer each time, while the others go on.

No transaction is open while line_provider works. A crash at any point leaves the messages to their lease.
"""

import asyncio
import random
import time
from collections import Counter
from collections.abc import Coroutine, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Never, TypeVar

import structlog
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from arq_worker import metrics
from arq_worker.batch_trace import BatchTrace
from arq_worker.circuit_breaker import CircuitBreaker
from arq_worker.line_provider_client import LineProviderClient, OutcomeUnknown
from score_maker.saga import outbox
from score_maker.saga.outbox import Claim, OutboxMessage
from score_maker.saga.settlement import DecidedMessage, settle_decided
from scoreline_common.database import autocommit, is_unreachable

log = structlog.get_logger(__name__)

T = TypeVar("T")

FIRST_RETRY = timedelta(milliseconds=250)
LONGEST_RETRY = timedelta(seconds=60)
# Commits wake the relay, and it knows when the next message is due; this bounds what a fault in either could cost.
LONGEST_SLEEP = timedelta(seconds=30)
# Keeps an unreachable database, or a bug that every attempt runs into, from causing a tight loop.
PAUSE_AFTER_FAILURE = timedelta(seconds=1)
# After a partial batch, wait briefly so that the next one fills up: most of the cost is per batch, not per message.
# Skipped after a batch of one, so that a lone rating delays no other.
BATCH_LINGER = timedelta(milliseconds=20)


def retry_delay(attempts: int, jitter: float) -> timedelta:
    """Returns how long a message waits after its nth attempt.

    It doubles up to a minute; half of it depends on `jitter` (0..1), so that messages do not return in step.
    """
    doublings = min(attempts - 1, 16)
    longest: timedelta = min(FIRST_RETRY * 2**doublings, LONGEST_RETRY)
    return longest / 2 * (1 + jitter)


# A message whose outcome is unknown, and why.
_Undecided = tuple[OutboxMessage, str]


@dataclass(slots=True)
class _Outcome:
    """What the calls of line_provider made of a batch."""

    decided: list[DecidedMessage] = field(default_factory=list)
    poisoned: list[_Undecided] = field(default_factory=list)
    """The message itself makes the call fail, or its verdict is unknown to this version."""
    unanswered: list[_Undecided] = field(default_factory=list)
    """The call failed for a reason that has nothing to do with the message."""

    @property
    def undecided(self) -> list[_Undecided]:
        return self.poisoned + self.unanswered

    def __add__(self, other: "_Outcome") -> "_Outcome":
        return _Outcome(
            self.decided + other.decided, self.poisoned + other.poisoned, self.unanswered + other.unanswered
        )


class Relay:
    """Relays batches of at most `batch_size` messages. Any number of relays may run, in one process and in many."""

    def __init__(
        self,
        engine: AsyncEngine,
        line_provider: LineProviderClient,
        breaker: CircuitBreaker,
        *,
        batch_size: int,
        lease: timedelta,
    ) -> None:
        self._engine = engine
        self._line_provider = line_provider
        self._breaker = breaker
        self._batch_size = batch_size
        self._lease = lease
        self._woken = asyncio.Event()

    def wake(self) -> None:
        """Makes `run` look for messages that are due. Calling it too often costs one query."""
        self._woken.set()

    async def run(self) -> Never:
        """Drains the outbox whenever it is woken or a message falls due.

        A failure is logged, and the relay goes on. When cancelled, it first finishes the batch in hand.
        """
        while True:
            self._woken.clear()
            try:
                await self.drain()
                pause = await self._time_until_next_due()
            except Exception as error:
                if is_unreachable(error):
                    log.warning("database_unreachable", error=str(error))
                else:
                    log.exception("relay_failed")
                pause = PAUSE_AFTER_FAILURE
            with suppress(TimeoutError):
                async with asyncio.timeout(pause.total_seconds()):
                    await self._woken.wait()

    async def drain(self) -> int:
        """Relays batch after batch until nothing is due; returns how many messages it settled."""
        total = 0
        while True:
            await self._breaker.wait_until_closed()
            settled = await _uninterrupted(self._relay_batch())
            if settled is None:
                return total
            total += settled
            if 1 < settled < self._batch_size:
                await asyncio.sleep(BATCH_LINGER.total_seconds())

    async def _relay_batch(self) -> int | None:
        """Returns how many messages were settled; None if none was due."""
        async with autocommit(self._engine) as connection:
            claim = await outbox.claim(connection, limit=self._batch_size, lease=self._lease)
        if not claim.messages:
            return None
        batch_trace = BatchTrace(claim.messages)
        try:
            return await self._relay(claim, batch_trace)
        finally:
            batch_trace.end()

    async def _relay(self, claim: Claim, batch_trace: BatchTrace) -> int:
        outcome = await self._ask(claim.messages, batch_trace)
        settled: list[DecidedMessage] = []
        settling_began = time.time_ns()
        async with self._engine.begin() as connection:
            if outcome.decided:
                settled = await settle_decided(connection, claim.lease_token, outcome.decided)
            await _postpone(connection, claim, outcome)
        batch_trace.settled(settled, settling_began)
        batch_trace.outcome_unknown(outcome.undecided)
        _report(outcome, settled)
        return len(settled)

    async def _ask(self, messages: Sequence[OutboxMessage], batch_trace: BatchTrace) -> _Outcome:
        try:
            decided = await self._line_provider.apply(messages, batch_trace)
        except OutcomeUnknown as error:
            undecided = [(message, str(error)) for message in messages]
            if not error.caused_by_content:
                self._breaker.failed()
                return _Outcome(unanswered=undecided)
            if len(messages) == 1:
                return _Outcome(poisoned=undecided)
        else:
            self._breaker.succeeded()
            return _Outcome(decided, poisoned=_without_verdict(messages, decided))
        # One message may make its neighbours fail: halve the batch until that message stands alone.
        middle = len(messages) // 2
        return await self._ask(messages[:middle], batch_trace) + await self._ask(messages[middle:], batch_trace)

    async def _time_until_next_due(self) -> timedelta:
        async with autocommit(self._engine) as connection:
            due = await outbox.time_until_next_due(connection)
        return LONGEST_SLEEP if due is None else max(timedelta(0), min(due, LONGEST_SLEEP))


async def _uninterrupted(work: Coroutine[Any, Any, T]) -> T:
    """Returns the result of the work. A caller that is cancelled meanwhile waits for the end of the work first."""
    task = asyncio.ensure_future(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait({task})
        if not task.cancelled() and (error := task.exception()):
            # Nobody else learns of it; the messages become due again when their lease expires.
            log.warning("batch_left_to_its_lease", error=repr(error))
        raise


def _without_verdict(messages: Sequence[OutboxMessage], decided: Sequence[DecidedMessage]) -> list[_Undecided]:
    if len(decided) == len(messages):
        return []
    decided_ids = {each.message.id for each in decided}
    error = "unknown verdict: line_provider is of a newer version"
    return [(message, error) for message in messages if message.id not in decided_ids]


async def _postpone(connection: AsyncConnection, claim: Claim, outcome: _Outcome) -> None:
    for error, messages in _by_error(outcome.poisoned).items():
        delays = [retry_delay(message.attempts, random.random()) for message in messages]  # noqa: S311
        await outbox.postpone(connection, Claim(claim.lease_token, messages), delays, error=error)
    for error, messages in _by_error(outcome.unanswered).items():
        # The breaker holds all of them back, so they can be due the moment line_provider is available again.
        delays = [timedelta(0)] * len(messages)
        await outbox.postpone(connection, Claim(claim.lease_token, messages), delays, error=error)


def _report(outcome: _Outcome, settled: Sequence[DecidedMessage]) -> None:
    for error, messages in _by_error(outcome.undecided).items():
        metrics.OUTCOME_UNKNOWN.inc(len(messages))
        log.warning("outcome_unknown", messages=len(messages), error=error)
    now = datetime.now(UTC)
    for (verdict, reason), count in Counter((each.verdict, each.reason) for each in settled).items():
        metrics.SETTLED.labels(verdict, reason or "").inc(count)
    for each in settled:
        metrics.SAGA_SECONDS.observe((now - each.message.accepted_at).total_seconds())
    if settled:
        log.info("settled", messages=len(settled), rejected=sum(1 for each in settled if each.reason))


def _by_error(undecided: Sequence[_Undecided]) -> dict[str, list[OutboxMessage]]:
    messages_by_error: dict[str, list[OutboxMessage]] = {}
    for message, error in undecided:
        messages_by_error.setdefault(error, []).append(message)
    return messages_by_error
