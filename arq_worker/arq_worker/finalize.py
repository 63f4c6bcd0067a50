"""Final results: an event whose deadline has passed, with nothing undecided and both sides' totals equal, is final.

line_provider makes it so, given what is confirmed here, and from then on changes nothing; then it is recorded here, and
nothing is accepted for it any more. A worker that dies in between leaves the record to reconciliation.
"""

from datetime import timedelta

import structlog
from sqlalchemy.ext.asyncio import AsyncEngine

from arq_worker import metrics
from arq_worker.line_provider_client import LineProviderClient, LineProviderRefuses
from score_maker.saga import reconciliation
from scoreline.line_provider.v1 import events_pb2

log = structlog.get_logger(__name__)


async def finalize_events(engine: AsyncEngine, line_provider: LineProviderClient, *, after: timedelta) -> int:
    """Makes final what can be, `after` that time from the deadline on; answers how many events that were.

    The time must be longer than a transaction may take: what it accepts on time is committed by then, and is seen.
    """
    finalized = 0
    async for page in line_provider.list_events(events_pb2.EVENT_PHASE_CLOSED):
        async with engine.connect() as connection:
            ended_by = await reconciliation.clock(connection) - after
            due = [event.event_id for event in page if event.deadline < ended_by]
            totals = await reconciliation.totals(connection, due)
        for event_id, own in totals.items():
            try:
                finalized_at = await line_provider.finalize(event_id, count=own.count, total=own.sum)
            except LineProviderRefuses as refusal:
                log.warning("not_final", event_id=event_id, reason=str(refusal))
                continue
            async with engine.begin() as connection:
                await reconciliation.record_final_result(
                    connection, event_id, count=own.count, total=own.sum, finalized_at=finalized_at
                )
            finalized += 1
    metrics.FINALIZED.inc(finalized)
    return finalized
