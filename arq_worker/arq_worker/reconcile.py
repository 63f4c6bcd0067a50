"""Reconciliation: compares both services' totals of each event all the time, and repairs the scores that differ.

Only an event with nothing undecided is compared, and only if its scores here were the same before and after
line_provider was asked. Most events are skipped, so that a pass over a quiet system costs one listing:

- An event on which both sides agreed is skipped until line_provider changes it.
- After its ratings were added up, an event is skipped for a cooldown that grows with their number, so that occasional
  ratings of an event that has millions do not keep the database adding.

Once an hour everything is compared again.
"""

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import structlog
from opentelemetry import trace
from sqlalchemy.ext.asyncio import AsyncEngine

from arq_worker import metrics
from arq_worker.line_provider_client import PAGE, EventRecord, LineProviderClient
from score_maker.ratings.domain import Repair, repair_of
from score_maker.saga import reconciliation
from score_maker.saga.reconciliation import OwnTotals
from scoreline_common.database import autocommit

log = structlog.get_logger(__name__)
_tracer = trace.get_tracer("arq_worker")

COMPARE_ALL_SECONDS = 3_600
# Adding up a million ratings, twice, takes about a second, and is followed by a cooldown of 20 s.
COOLDOWN_RATINGS_PER_SECOND = 50_000


@dataclass(frozen=True, slots=True)
class Findings:
    """How many events a pass listed, how many differ at its end, and how many scores needed which repair."""

    events: int
    divergent: int
    repaired: Counter[Repair]


class Reconciler:
    """Compares and repairs; remembers between passes which events need no comparison.

    Passes must not overlap: periodic.py and the command `reconcile` hold the lock `locks.RECONCILE`.
    """

    def __init__(self, engine: AsyncEngine, line_provider: LineProviderClient) -> None:
        self._engine = engine
        self._line_provider = line_provider
        self._agreed_revisions: dict[int, int] = {}
        self._next_check_at: dict[int, float] = {}
        self._compare_all_at = time.monotonic() + COMPARE_ALL_SECONDS
        self._divergent: set[int] = set()

    async def run(self, *, every_rating: bool = False) -> Findings:
        """Makes one pass over the totals, or over every rating. Raises LineProviderUnavailable and SQLAlchemyError.

        After a database was restored, totals may agree by chance where ratings do not.
        """
        with metrics.RECONCILIATION_SECONDS.time(), _tracer.start_as_current_span("reconcile"):
            return await self._run(every_rating=every_rating)

    async def _run(self, *, every_rating: bool) -> Findings:
        if time.monotonic() >= self._compare_all_at:
            self._agreed_revisions.clear()
            self._next_check_at.clear()
            self._compare_all_at = time.monotonic() + COMPARE_ALL_SECONDS
        listed, repaired = set[int](), Counter[Repair]()
        async for page in self._line_provider.list_events():
            listed.update(event.event_id for event in page)
            if compared := page if every_rating else [event for event in page if self._is_to_be_compared(event)]:
                repaired += await self._reconcile(compared, every_rating=every_rating)
        self._keep_only(listed)
        metrics.DIVERGENT_EVENTS.set(len(self._divergent))
        async with self._engine.begin() as connection:
            await reconciliation.record_pass(
                connection, events=len(listed), divergent_event_ids=sorted(self._divergent)
            )
        return Findings(len(listed), len(self._divergent), repaired)

    def _is_to_be_compared(self, event: EventRecord) -> bool:
        return (
            self._agreed_revisions.get(event.event_id) != event.revision
            and self._next_check_at.get(event.event_id, 0) <= time.monotonic()
        )

    def _keep_only(self, listed: set[int]) -> None:
        """Drops events that line_provider no longer has; nothing would ever remove them from the divergent ones."""
        self._divergent &= listed
        for known in (self._agreed_revisions, self._next_check_at):
            for event_id in known.keys() - listed:
                known.pop(event_id, None)

    async def _reconcile(self, events: Sequence[EventRecord], *, every_rating: bool) -> Counter[Repair]:
        before = await self._own_totals([event.event_id for event in events])
        applied_totals = await self._line_provider.totals(list(before))
        after = await self._own_totals(list(before))
        now = time.monotonic()
        for event_id, own in before.items():
            self._next_check_at[event_id] = now + own.count // COOLDOWN_RATINGS_PER_SECOND
        repaired = Counter[Repair]()
        for event in events:
            own_totals = after.get(event.event_id)
            applied = applied_totals.get(event.event_id)
            if own_totals is None or own_totals != before[event.event_id] or applied is None:
                continue
            confirmed = (own_totals.count, own_totals.sum)
            agrees = confirmed == applied
            if not agrees:
                log.error("divergence", event_id=event.event_id, confirmed=confirmed, applied=applied)
            differing = Counter[Repair]() if agrees and not every_rating else await self._repair(event)
            if agrees and not differing:
                await self._record_agreement(event, own_totals)
            else:
                self._divergent.add(event.event_id)
                self._next_check_at.pop(event.event_id, None)
                repaired += differing
        return repaired

    async def _own_totals(self, event_ids: list[int]) -> dict[int, OwnTotals]:
        async with autocommit(self._engine) as connection:
            return await reconciliation.totals(connection, event_ids)

    async def _record_agreement(self, event: EventRecord, own: OwnTotals) -> None:
        self._agreed_revisions[event.event_id] = event.revision
        self._divergent.discard(event.event_id)
        if event.finalized_at is not None:
            # The worker that made the result final may have died before it recorded it.
            async with self._engine.begin() as connection:
                await reconciliation.record_final_result(
                    connection, event.event_id, count=own.count, total=own.sum, finalized_at=event.finalized_at
                )

    async def _repair(self, event: EventRecord) -> Counter[Repair]:
        """Compares the event rating by rating; returns how many scores needed which repair."""
        repaired, after = Counter[Repair](), None
        async for page in self._line_provider.list_applied(event.event_id):
            until = max(page) if len(page) == PAGE else None
            async with self._engine.begin() as connection:
                scores = await reconciliation.list_scores(connection, event.event_id, after=after, until=until)
                agreeing = {
                    score.rater_id
                    for score in scores
                    if repair_of(score, page.get(score.rater_id), score.accepted_at)[1] is None
                }
                differing = (page.keys() | {score.rater_id for score in scores}) - agreeing
                repaired.update(
                    await reconciliation.repair_scores(
                        connection,
                        event.event_id,
                        {rater_id: page.get(rater_id) for rater_id in differing},
                        event.deadline,
                    )
                )
            after = until
        for repair, count in repaired.items():
            metrics.REPAIRED.labels(repair).inc(count)
            log.warning("repaired", event_id=event.event_id, repair=repair, scores=count)
        return repaired
