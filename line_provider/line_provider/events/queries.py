"""How events are read: one, many, and in listings."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Row, and_, exists, func, or_, select
from sqlalchemy.ext.asyncio import AsyncConnection

from line_provider.events.domain import Event, EventNotFound, Order, Phase, Status, Totals
from line_provider.storage.tables import events

_MAY_CHANGE = (events.c.cancelled_at.is_(None), events.c.finalized_at.is_(None))

# Letter case is folded by Unicode's rules whatever locale the database was made with.
_COLLATION = "pg_c_utf8"


@dataclass(frozen=True, slots=True)
class EventFilter:
    """Which events a listing holds; None and the empty query let every one pass."""

    status: Status | None = None
    phase: Phase | None = None
    query: str = ""


@dataclass(frozen=True, slots=True)
class Position:
    """A place in a listing: the sort value of an event, and its id."""

    value: datetime
    event_id: int


async def get(connection: AsyncConnection, event_id: int) -> Event:
    """The event; raises EventNotFound."""
    row = (await connection.execute(select(events).where(events.c.event_id == event_id))).one_or_none()
    if row is None:
        raise EventNotFound(event_id)
    return event_of(row)


async def get_many(connection: AsyncConnection, event_ids: Sequence[int]) -> list[Event]:
    """Those of the events that exist, by id."""
    query = select(events).where(events.c.event_id == func.any(event_ids)).order_by(events.c.event_id)
    return [event_of(row) for row in await connection.execute(query)]


async def list_by_id(connection: AsyncConnection, *, limit: int, after: int = 0) -> list[Event]:
    """Events with a higher id than `after`, by id."""
    query = select(events).where(events.c.event_id > after).order_by(events.c.event_id).limit(limit)
    return [event_of(row) for row in await connection.execute(query)]


async def list_page(
    connection: AsyncConnection, which: EventFilter, order: Order, *, limit: int, after: Position | None = None
) -> list[Event]:
    """Events that pass the filter, from the place `after` on."""
    value: ColumnElement[datetime]
    match order:
        case Order.DEADLINE:
            value, direction = events.c.deadline, events.c.deadline.asc()
        case Order.STARTS_AT:
            value, direction = events.c.starts_at, events.c.starts_at.asc()
        case Order.NEWEST:
            value, direction = events.c.created_at, events.c.created_at.desc()
    query = select(events).where(*_conditions(which)).order_by(direction, events.c.event_id).limit(limit)
    if after is not None:
        # The first condition is implied by the second; it is what an index can begin at.
        beyond, not_before = value > after.value, value >= after.value
        if order is Order.NEWEST:
            beyond, not_before = value < after.value, value <= after.value
        query = query.where(not_before, or_(beyond, and_(value == after.value, events.c.event_id > after.event_id)))
    return [event_of(row) for row in await connection.execute(query)]


def position_of(event: Event, order: Order) -> Position:
    """Where the event stands in a listing of that order."""
    match order:
        case Order.DEADLINE:
            return Position(event.deadline, event.event_id)
        case Order.STARTS_AT:
            return Position(event.starts_at, event.event_id)
        case Order.NEWEST:
            return Position(event.created_at, event.event_id)


async def any_exist(connection: AsyncConnection) -> bool:
    return bool(await connection.scalar(select(exists(select(events.c.event_id)))))


def _conditions(which: EventFilter) -> list[ColumnElement[bool]]:
    conditions: list[ColumnElement[bool]] = []
    if which.status is not None:
        conditions.append(events.c.status == which.status)
    match which.phase:
        case Phase.OPEN:
            conditions += [*_MAY_CHANGE, events.c.deadline >= func.now()]
        case Phase.CLOSED:
            conditions += [*_MAY_CHANGE, events.c.deadline < func.now()]
        case Phase.CANCELLED:
            conditions.append(events.c.cancelled_at.is_not(None))
        case Phase.FINAL:
            conditions.append(events.c.finalized_at.is_not(None))
    if which.query:
        conditions.append(
            or_(
                *(
                    column.collate(_COLLATION).icontains(which.query, autoescape=True)
                    for column in (events.c.title, events.c.description)
                )
            )
        )
    return conditions


def event_of(row: Row[Any]) -> Event:
    return Event(
        event_id=row.event_id,
        external_id=row.external_id,
        title=row.title,
        description=row.description,
        starts_at=row.starts_at,
        deadline=row.deadline,
        status=Status(row.status),
        cancelled_at=row.cancelled_at,
        finalized_at=row.finalized_at,
        totals=Totals(row.score_count, row.score_sum, tuple(row.histogram)),
        revision=row.revision,
        created_at=row.created_at,
        updated_at=row.updated_at,
    )
