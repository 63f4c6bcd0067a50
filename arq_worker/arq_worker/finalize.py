"""Final results: the result of an event becomes final after its deadline, when nothing of it is undecided and both
sides' totals are equal.

line_provider makes it final, given the totals confirmed here, and changes nothing of the event from then on. Then it is
recorded here, and no more submissions are accepted for the event. If the worker dies in between, reconciliation records
the result.
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
    """Makes the results final that can be, `after` their deadline; returns how many events that were.

    `after` must be longer than a transaction may take: what one accepted in time is then committed and visible. Raises
    LineProviderUnavailable and SQLAlchemyError.
    """
    finalized = 0
    async for page in line_provider.list_events(events_pb2.EVENT_PHASE_CLOSED):
        async with engine.connect() as connection:
            latest_deadline = await reconciliation.clock(connection) - after
            due = [event.event_id for event in page if event.deadline < latest_deadline]
            totals = await reconciliation.totals(connection, due)
        for event_id, own in totals.items():
            try:
                finalized_at = await line_provider.finalize(event_id, count=own.count, total=own.sum)
            except LineProviderRefuses as refusal:
                log.warning("finalization_refused", event_id=event_id, reason=str(refusal))
                continue
            async with engine.begin() as connection:
                await reconciliation.record_final_result(
                    connection, event_id, count=own.count, total=own.sum, finalized_at=finalized_at
                )
            finalized += 1
    metrics.FINALIZED.inc(finalized)
    return finalized
