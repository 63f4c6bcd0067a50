"""The relay: claim a batch from score_maker's outbox, ask line_provider, settle by its verdicts; until nothing is due.

A verdict ends a message; anything else (a timeout, a broken connection, a failing server) leaves its outcome unknown,
and it is asked again, for as long as it takes: line_provider applies a version at most once and repeats its verdict.
What would meet any batch is held against line_provider (see circuit_breaker.py), what one message causes against that
message alone, which waits longer and longer while the others go on.
No transaction is open while line_provider is asked. A crash at any point leaves the messages to their lease.
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
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine

from arq_worker import metrics
from arq_worker.batch_trace import BatchTrace
from arq_worker.circuit_breaker import CircuitBreaker
from arq_worker.line_provider_client import LineProviderClient, OutcomeUnknown
from score_maker.saga import outbox
from score_maker.saga.outbox import Claim, OutboxMessage
from score_maker.saga.settlement import Decision, settle_decisions
from scoreline_common.database import autocommit, is_unreachable

log = structlog.get_logger(__name__)

T = TypeVar("T")

FIRST_RETRY = timedelta(milliseconds=250)
LONGEST_RETRY = timedelta(seconds=60)
# Wake-ups and due times are asked for; this only bounds what a fault in either could cost.
LONGEST_SLEEP = timedelta(seconds=30)
DATABASE_RETRY = timedelta(seconds=1)
# After a batch of several that was not full: what comes meanwhile goes together, since most of the work is for the
# batch and not for its messages. A rating that comes alone lets none wait.
REST = timedelta(milliseconds=20)


def retry_delay(attempts: int, jitter: float) -> timedelta:
    """How long a message waits after its nth attempt: doubling up to a minute, half of it left to `jitter` (0..1)."""
    doublings = min(attempts - 1, 16)
    longest: timedelta = min(FIRST_RETRY * 2**doublings, LONGEST_RETRY)
    return longest / 2 * (1 + jitter)


@dataclass(slots=True)
class _Answers:
    """`failed`: by something in the message; `unheard`: whatever was in it, line_provider did not answer."""

    decisions: list[Decision] = field(default_factory=list)
    failed: list[tuple[OutboxMessage, str]] = field(default_factory=list)
    unheard: list[tuple[OutboxMessage, str]] = field(default_factory=list)


class Relay:
    """Relays batches of at most `batch_size`; any number of them may run, in one process and in many."""

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
        """Says that there may be something to relay."""
        self._woken.set()

    async def run(self) -> Never:
        """Drains the outbox whenever it is woken or a message falls due. Cancelled, it finishes the batch in hand."""
        while True:
            self._woken.clear()
            try:
                await self.drain()
                pause = await self._time_until_next_due()
            except (SQLAlchemyError, OSError, TimeoutError) as error:
                if is_unreachable(error):
                    log.warning("database_unreachable", error=str(error))
                else:
                    log.exception("relay_failed")
                pause = DATABASE_RETRY
            with suppress(TimeoutError):
                async with asyncio.timeout(pause.total_seconds()):
                    await self._woken.wait()

    async def drain(self) -> int:
        """Relays batch after batch until nothing is due; answers how many messages it settled."""
        total = 0
        while True:
            await self._breaker.wait_until_closed()
            settled = await _uninterrupted(self._relay_batch())
            if settled is None:
                return total
            total += settled
            if 1 < settled < self._batch_size:
                await asyncio.sleep(REST.total_seconds())

    async def _relay_batch(self) -> int | None:
        """How many messages were settled; None where none was due."""
        async with autocommit(self._engine) as connection:
            claim = await outbox.claim(connection, limit=self._batch_size, lease=self._lease)
        return await self._relay(claim) if claim.messages else None

    async def _relay(self, claim: Claim) -> int:
        followed = BatchTrace(claim.messages)
        try:
            return await self._send_and_settle(claim, followed)
        finally:
            followed.end()

    async def _send_and_settle(self, claim: Claim, followed: BatchTrace) -> int:
        answers = await self._ask(claim.messages, followed)
        mine: list[Decision] = []
        began = time.time_ns()
        async with self._engine.begin() as connection:
            if answers.decisions:
                mine = await settle_decisions(connection, claim.lease_token, answers.decisions)
            for error, messages in _by_error(answers.failed).items():
                delays = [retry_delay(message.attempts, random.random()) for message in messages]  # noqa: S311
                await outbox.postpone(connection, Claim(claim.lease_token, messages), delays, error=error)
            for error, messages in _by_error(answers.unheard).items():
                # The breaker waits for all of them, so that they are due the moment line_provider is back.
                delays = [timedelta(0)] * len(messages)
                await outbox.postpone(connection, Claim(claim.lease_token, messages), delays, error=error)
        followed.settled(mine, began)
        followed.unknown(answers.failed + answers.unheard)
        _report(answers, mine)
        return len(mine)

    async def _ask(self, messages: Sequence[OutboxMessage], followed: BatchTrace) -> _Answers:
        try:
            decisions = await self._line_provider.apply(messages, followed)
        except OutcomeUnknown as error:
            unknown = [(message, str(error)) for message in messages]
            if not error.caused_by_content:
                self._breaker.failed()
                return _Answers(unheard=unknown)
            if len(messages) == 1:
                return _Answers(failed=unknown)
        else:
            self._breaker.succeeded()
            return _Answers(decisions)
        # One message may be failing its neighbours: ask by halves until it stands alone.
        middle = len(messages) // 2
        left, right = await self._ask(messages[:middle], followed), await self._ask(messages[middle:], followed)
        return _Answers(left.decisions + right.decisions, left.failed + right.failed, left.unheard + right.unheard)

    async def _time_until_next_due(self) -> timedelta:
        async with autocommit(self._engine) as connection:
            due = await outbox.time_until_next_due(connection)
        return LONGEST_SLEEP if due is None else max(timedelta(0), min(due, LONGEST_SLEEP))


async def _uninterrupted(work: Coroutine[Any, Any, T]) -> T:
    """Lets the work come to its end even when the caller is cancelled meanwhile, and only then gives way."""
    task = asyncio.ensure_future(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait({task})
        raise


def _report(answers: _Answers, mine: Sequence[Decision]) -> None:
    for error, messages in _by_error(answers.failed + answers.unheard).items():
        metrics.OUTCOME_UNKNOWN.inc(len(messages))
        log.warning("outcome_unknown", messages=len(messages), error=error)
    now = datetime.now(UTC)
    for (verdict, reason), count in Counter((decision.verdict, decision.reason) for decision in mine).items():
        metrics.SETTLED.labels(verdict, reason or "").inc(count)
    for decision in mine:
        metrics.SAGA_SECONDS.observe((now - decision.message.accepted_at).total_seconds())
    if mine:
        log.info("settled", messages=len(mine), rejected=sum(1 for decision in mine if decision.reason))


def _by_error(unknown: Sequence[tuple[OutboxMessage, str]]) -> dict[str, list[OutboxMessage]]:
    messages_by_error: dict[str, list[OutboxMessage]] = {}
    for message, error in unknown:
        messages_by_error.setdefault(error, []).append(message)
    return messages_by_error
