"""Reconciliation: both services' totals of each event are compared all the time, and mended where they differ.

Only what can be compared is: an event with nothing undecided, whose records here were the same before and after
line_provider was asked. One that both sides agreed on is left alone until line_provider changes it, so that a pass
costs next to nothing where nothing happened, and for a time that grows with the ratings that were added up, so that
rating now and then an event that has millions does not keep the database adding. Once in a while everything is
compared again.
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
from score_maker.ratings.domain import Mending, mend
from score_maker.saga import reconciliation
from score_maker.saga.reconciliation import OwnTotals
from scoreline_common.database import autocommit

log = structlog.get_logger(__name__)
_tracer = trace.get_tracer("arq_worker")

EVERYTHING_AFTER_SECONDS = 3_600
# Adding up a million, twice, takes about a second.
RATINGS_PER_SECOND_OF_REST = 50_000


@dataclass(frozen=True, slots=True)
class Findings:
    """What a pass compared, the events that it found to differ, and what it did about their ratings."""

    events: int
    divergent: int
    mended: Counter[Mending]


class Reconciler:
    """Compares and mends; remembers what was agreed on."""

    def __init__(self, engine: AsyncEngine, line_provider: LineProviderClient) -> None:
        self._engine = engine
        self._line_provider = line_provider
        self._agreed_revisions: dict[int, int] = {}
        self._rests_until: dict[int, float] = {}
        self._forget_at = time.monotonic() + EVERYTHING_AFTER_SECONDS
        self._divergent: set[int] = set()

    async def run(self, *, every_rating: bool = False) -> Findings:
        """One pass over the totals, or over every rating. Raises LineProviderAway and SQLAlchemyError.

        Totals may agree by chance where ratings do not, after a database was restored.
        """
        with metrics.RECONCILIATION_SECONDS.time(), _tracer.start_as_current_span("reconcile"):
            return await self._run(every_rating=every_rating)

    async def _run(self, *, every_rating: bool) -> Findings:
        if time.monotonic() > self._forget_at:
            self._agreed_revisions.clear()
            self._rests_until.clear()
            self._forget_at = time.monotonic() + EVERYTHING_AFTER_SECONDS
        events, mended = 0, Counter[Mending]()
        async for page in self._line_provider.list_events():
            events += len(page)
            if compared := page if every_rating else [event for event in page if self._has_to_be_compared(event)]:
                mended += await self._reconcile(compared, every_rating=every_rating)
        metrics.DIVERGENT_EVENTS.set(len(self._divergent))
        async with self._engine.begin() as connection:
            await reconciliation.record_pass(connection, events=events, divergent_event_ids=sorted(self._divergent))
        return Findings(events, len(self._divergent), mended)

    def _has_to_be_compared(self, event: EventRecord) -> bool:
        return (
            self._agreed_revisions.get(event.event_id) != event.revision
            and self._rests_until.get(event.event_id, 0) <= time.monotonic()
        )

    async def _reconcile(self, events: Sequence[EventRecord], *, every_rating: bool) -> Counter[Mending]:
        before = await self._own_totals([event.event_id for event in events])
        there = await self._line_provider.totals(list(before))
        after = await self._own_totals(list(before))
        now = time.monotonic()
        for event_id, added_up in before.items():
            self._rests_until[event_id] = now + added_up.count // RATINGS_PER_SECOND_OF_REST
        mended = Counter[Mending]()
        for event in events:
            own = after.get(event.event_id)
            if own is None or own != before[event.event_id] or event.event_id not in there:
                continue
            applied = there[event.event_id]
            agrees = (own.count, own.sum) == applied
            if not agrees:
                log.error("divergence", event_id=event.event_id, confirmed=(own.count, own.sum), applied=applied)
            differing = Counter[Mending]() if agrees and not every_rating else await self._mend(event)
            if agrees and not differing:
                await self._agree(event, own)
            else:
                self._divergent.add(event.event_id)
                self._rests_until.pop(event.event_id)
                mended += differing
        return mended

    async def _own_totals(self, event_ids: list[int]) -> dict[int, OwnTotals]:
        async with autocommit(self._engine) as connection:
            return await reconciliation.totals(connection, event_ids)

    async def _agree(self, event: EventRecord, own: OwnTotals) -> None:
        self._agreed_revisions[event.event_id] = event.revision
        self._divergent.discard(event.event_id)
        if event.finalized_at is not None:
            # Whoever made it final may not have lived to record it.
            async with self._engine.begin() as connection:
                await reconciliation.record_final_result(
                    connection, event.event_id, count=own.count, total=own.sum, finalized_at=event.finalized_at
                )

    async def _mend(self, event: EventRecord) -> Counter[Mending]:
        """Goes through the event's ratings, and answers how many needed what."""
        mended, after = Counter[Mending](), None
        async for page in self._line_provider.list_applied(event.event_id):
            until = max(page) if len(page) == PAGE else None
            async with self._engine.begin() as connection:
                scores = await reconciliation.list_scores(connection, event.event_id, after=after, until=until)
                agreeing = {
                    score.rater_id
                    for score in scores
                    if mend(score, page.get(score.rater_id), score.accepted_at)[1] is None
                }
                differing = (page.keys() | {score.rater_id for score in scores}) - agreeing
                mended.update(
                    await reconciliation.mend_scores(
                        connection,
                        event.event_id,
                        {rater_id: page.get(rater_id) for rater_id in differing},
                        event.deadline,
                    )
                )
            after = until
        for mending, count in mended.items():
            metrics.MENDED.labels(mending).inc(count)
            log.warning("mended", event_id=event.event_id, mending=mending, scores=count)
        return mended
