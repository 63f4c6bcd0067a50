"""Reads what has been applied: the totals of events, and the single scores behind them."""

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from line_provider.events.domain import Totals
from line_provider.events.queries import totals_in
from line_provider.scores.domain import AppliedScore
from line_provider.storage.tables import applied_scores, events


async def get_totals(connection: AsyncConnection, event_ids: Sequence[int]) -> dict[int, Totals]:
    """Returns the totals of those of the events that exist, by id, in the order of the ids."""
    query = (
        select(events.c.event_id, events.c.score_count, events.c.score_sum, events.c.histogram)
        .where(events.c.event_id == func.any(event_ids))
        .order_by(events.c.event_id)
    )
    return {row.event_id: totals_in(row) for row in await connection.execute(query)}


async def list_applied_scores(
    connection: AsyncConnection, event_id: int, *, limit: int, after: UUID | None = None
) -> list[AppliedScore]:
    """Returns the next applied scores of the event, withdrawals included, by raters with an id greater than `after`."""
    applied = applied_scores.c
    query = select(applied.rater_id, applied.value, applied.version, applied.applied_at).where(
        applied.event_id == event_id
    )
    if after is not None:
        query = query.where(applied.rater_id > after)
    rows = await connection.execute(query.order_by(applied.rater_id).limit(limit))
    return [AppliedScore(**row._asdict()) for row in rows]
