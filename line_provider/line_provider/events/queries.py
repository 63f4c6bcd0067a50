"""Reads events: one, several, and in listings."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any

from sqlalchemy import Column, ColumnElement, Row, and_, exists, func, or_, select
from sqlalchemy.ext.asyncio import AsyncConnection

from line_provider.events.domain import Event, EventNotFound, Order, Phase, Status, Totals
from line_provider.storage.tables import events

_SORTED_BY: dict[Order, Column[datetime]] = {
    Order.DEADLINE: events.c.deadline,
    Order.STARTS_AT: events.c.starts_at,
    Order.NEWEST: events.c.created_at,
}
_DESCENDING = {Order.NEWEST}

_IS_CHANGEABLE = (events.c.cancelled_at.is_(None), events.c.finalized_at.is_(None))

# Folds letter case by Unicode's rules, whatever locale the database was created with.
_COLLATION = "pg_c_utf8"

# All fields of an event but these are columns of the same name.
_COMPUTED = {"status", "totals"}
_COPIED = tuple(field.name for field in fields(Event) if field.name not in _COMPUTED)


@dataclass(frozen=True, slots=True)
class EventFilter:
    """Which events a listing contains; None and the empty query match every event."""

    status: Status | None = None
    phase: Phase | None = None
    query: str = ""


@dataclass(frozen=True, slots=True)
class Position:
    """A place in a listing: the value by which it is sorted, and the event's id."""

    value: datetime
    event_id: int


async def get_event(connection: AsyncConnection, event_id: int) -> Event:
    """Returns the event. Raises EventNotFound."""
    row = (await connection.execute(select(events).where(events.c.event_id == event_id))).one_or_none()
    if row is None:
        raise EventNotFound(event_id)
    return event_of(row)


async def get_events(connection: AsyncConnection, event_ids: Sequence[int]) -> list[Event]:
    """Returns those of the events that exist, in the order of their ids."""
    query = select(events).where(events.c.event_id == func.any(event_ids)).order_by(events.c.event_id)
    return [event_of(row) for row in await connection.execute(query)]


async def list_events_by_id(connection: AsyncConnection, *, limit: int, after: int = 0) -> list[Event]:
    """Returns the next events whose id is greater than `after`, in the order of their ids."""
    query = select(events).where(events.c.event_id > after).order_by(events.c.event_id).limit(limit)
    return [event_of(row) for row in await connection.execute(query)]


async def list_events(
    connection: AsyncConnection, which: EventFilter, order: Order, *, limit: int, after: Position | None = None
) -> list[Event]:
    """Returns the first events that match the filter, or the next ones behind the position `after`."""
    value, descending = _SORTED_BY[order], order in _DESCENDING
    query = (
        select(events)
        .where(*_conditions(which))
        .order_by(value.desc() if descending else value.asc(), events.c.event_id)
        .limit(limit)
    )
    if after is not None:
        beyond, not_before = value > after.value, value >= after.value
        if descending:
            beyond, not_before = value < after.value, value <= after.value
        # The second condition implies the first, which is there because an index scan can start at it.
        query = query.where(not_before, or_(beyond, and_(value == after.value, events.c.event_id > after.event_id)))
    return [event_of(row) for row in await connection.execute(query)]


def position_of(event: Event, order: Order) -> Position:
    """Returns the event's place in a listing in that order."""
    return Position(getattr(event, _SORTED_BY[order].name), event.event_id)


async def any_event_exists(connection: AsyncConnection) -> bool:
    return bool(await connection.scalar(select(exists(select(events.c.event_id)))))


def _conditions(which: EventFilter) -> list[ColumnElement[bool]]:
    conditions: list[ColumnElement[bool]] = []
    if which.status is not None:
        conditions.append(events.c.status == which.status)
    match which.phase:
        case Phase.OPEN:
            conditions += [*_IS_CHANGEABLE, events.c.deadline >= func.now()]
        case Phase.CLOSED:
            conditions += [*_IS_CHANGEABLE, events.c.deadline < func.now()]
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


def event_of(row: Row[*tuple[Any, ...]]) -> Event:
    """Converts a row with all columns of `events`. No other place maps columns to an event's fields."""
    return Event(**{name: getattr(row, name) for name in _COPIED}, status=Status(row.status), totals=totals_in(row))


def totals_in(row: Row[*tuple[Any, ...]]) -> Totals:
    """Converts the columns score_count, score_sum and histogram of `events`."""
    return Totals(row.score_count, row.score_sum, tuple(row.histogram))
