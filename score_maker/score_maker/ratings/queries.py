"""Reading scores. Queries on behalf of a rater return nothing once the rater has been erased."""

from collections.abc import Collection
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ARRAY, BigInteger, Row, ScalarSelect, any_, bindparam, exists, select, text, tuple_
from sqlalchemy.ext.asyncio import AsyncConnection

from score_maker.ratings.domain import Reason, Score, State
from score_maker.storage.arrays import types_of, unnest
from score_maker.storage.tables import forgotten_raters, scores

# A rater's id, or a query for it.
RaterId = UUID | ScalarSelect[UUID]

KEY = types_of(scores, "event_id", "rater_id")


def score_of(row: Row[Any]) -> Score:
    """Returns the score in a row that has all columns of `scores`, and perhaps others."""
    return Score(
        event_id=row.event_id,
        rater_id=row.rater_id,
        value=row.value,
        version=row.version,
        state=State(row.state),
        reason=None if row.reason is None else Reason(row.reason),
        confirmed_value=row.confirmed_value,
        confirmed_version=row.confirmed_version,
        accepted_at=row.accepted_at,
        settled_at=row.settled_at,
    )


_GET_EACH = text(f"""
    SELECT found.*
    FROM {unnest(KEY, alias="wanted")}
    CROSS JOIN LATERAL (
        SELECT * FROM scores WHERE event_id = wanted.event_id AND rater_id = wanted.rater_id LIMIT 1
    ) AS found
""")  # noqa: S608 - the fragments are our own

_IS_NOT_ERASED = ~exists().where(forgotten_raters.c.rater_id == scores.c.rater_id)


async def get(connection: AsyncConnection, event_id: int, rater_id: RaterId) -> Score | None:
    """Returns the rater's score of the event; None if there is none or the rater was erased."""
    query = select(scores).where(scores.c.event_id == event_id, scores.c.rater_id == rater_id, _IS_NOT_ERASED)
    row = (await connection.execute(query)).one_or_none()
    return score_of(row) if row else None


async def of_rater_for_events(
    connection: AsyncConnection, rater_id: RaterId, event_ids: Collection[int]
) -> list[Score]:
    """Returns the rater's scores of these events, in no particular order; none if the rater was erased."""
    these = any_(bindparam("event_ids", list(event_ids), ARRAY(BigInteger)))
    query = select(scores).where(scores.c.event_id == these, scores.c.rater_id == rater_id, _IS_NOT_ERASED)
    return [score_of(row) for row in await connection.execute(query)]


async def list_of_rater(
    connection: AsyncConnection, rater_id: RaterId, *, limit: int, before: tuple[datetime, int] | None = None
) -> list[Score]:
    """Returns the rater's scores, last accepted first; `before` is (accepted_at, event_id) of the last one seen."""
    query = select(scores).where(scores.c.rater_id == rater_id, _IS_NOT_ERASED)
    if before is not None:
        query = query.where(tuple_(scores.c.accepted_at, scores.c.event_id) < before)
    query = query.order_by(scores.c.accepted_at.desc(), scores.c.event_id.desc()).limit(limit)
    return [score_of(row) for row in await connection.execute(query)]


async def get_each(connection: AsyncConnection, keys: Collection[tuple[int, UUID]]) -> dict[tuple[int, UUID], Score]:
    """Returns the scores with these keys (event, rater), erased raters included; keys without a score are left out."""
    parameters = {"event_id": [event_id for event_id, _ in keys], "rater_id": [rater_id for _, rater_id in keys]}
    return {(row.event_id, row.rater_id): score_of(row) for row in await connection.execute(_GET_EACH, parameters)}
