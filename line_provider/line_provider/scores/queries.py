"""What has been applied: an event's totals, and the rating behind each of them."""

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from line_provider.events.domain import Totals
from line_provider.scores.domain import AppliedScore
from line_provider.storage.tables import applied_scores, events


async def totals_of(connection: AsyncConnection, event_ids: Sequence[int]) -> dict[int, Totals]:
    """What stands for each of these events, by id; unknown ones are left out."""
    query = (
        select(events.c.event_id, events.c.score_count, events.c.score_sum, events.c.histogram)
        .where(events.c.event_id == func.any(event_ids))
        .order_by(events.c.event_id)
    )
    return {
        row.event_id: Totals(row.score_count, row.score_sum, tuple(row.histogram))
        for row in await connection.execute(query)
    }


async def list_applied(
    connection: AsyncConnection, event_id: int, *, limit: int, after: UUID | None = None
) -> list[AppliedScore]:
    """What is applied of the event by rater, from behind `after` on; raters who have withdrawn are among them."""
    applied = applied_scores.c
    query = select(applied.rater_id, applied.value, applied.version, applied.applied_at).where(
        applied.event_id == event_id
    )
    if after is not None:
        query = query.where(applied.rater_id > after)
    return [AppliedScore(*row) for row in await connection.execute(query.order_by(applied.rater_id).limit(limit))]
