"""Events: what organisers do with them, and how they are read.

Every transaction that changes an event raises its revision and announces its id, so that whoever watches hears of it
at the commit, in whatever process (see watch.py). Nothing here holds until the caller has committed.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Row, Text, and_, cast, exists, func, or_, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from line_provider.events.domain import (
    Event,
    EventCancelled,
    EventDraft,
    EventEdit,
    EventFinal,
    EventNotFound,
    ExternalIdTaken,
    Order,
    Phase,
    Status,
    Totals,
    check_draft,
    check_final,
    draft_after,
)
from line_provider.storage.tables import events

# The channel on which the commit of a change announces the event's id.
CHANGE_CHANNEL = "event_changes"

_MAY_CHANGE = (events.c.cancelled_at.is_(None), events.c.finalized_at.is_(None))
_ANNOUNCED = func.pg_notify(CHANGE_CHANNEL, cast(events.c.event_id, Text))

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


_INSERT = text("""
    INSERT INTO events (title, description, starts_at, deadline, external_id)
    SELECT title, description, starts_at, deadline, external_id
    FROM unnest(
        CAST(:titles AS text[]), CAST(:descriptions AS text[]), CAST(:starts AS timestamptz[]),
        CAST(:deadlines AS timestamptz[]), CAST(:external_ids AS text[])
    ) WITH ORDINALITY AS draft(title, description, starts_at, deadline, external_id, position)
    ORDER BY position
    ON CONFLICT (external_id) DO NOTHING
    RETURNING *, pg_notify('event_changes', event_id::text)
""")


async def create_missing(connection: AsyncConnection, drafts: Sequence[EventDraft]) -> list[Event]:
    """Creates those events whose external_id does not exist yet, and answers with them."""
    rows = await connection.execute(
        _INSERT,
        {
            "titles": [draft.title for draft in drafts],
            "descriptions": [draft.description for draft in drafts],
            "starts": [draft.starts_at for draft in drafts],
            "deadlines": [draft.deadline for draft in drafts],
            "external_ids": [draft.external_id for draft in drafts],
        },
    )
    return [_event_of(row) for row in rows]


async def create(connection: AsyncConnection, draft: EventDraft) -> Event:
    """Creates the event. Raises Invalid, and ExternalIdTaken where nothing was written for that reason."""
    created = await create_missing(connection, [check_draft(draft)])
    if not created:
        raise ExternalIdTaken(draft.external_id or "")
    return created[0]


async def update(connection: AsyncConnection, event_id: int, edit: EventEdit) -> Event:
    """Changes what the edit names. Raises EventNotFound, EventCancelled, EventFinal and Invalid."""
    event = await _lock(connection, event_id)
    if event.cancelled_at is not None:
        raise EventCancelled(event_id)
    if event.finalized_at is not None:
        raise EventFinal(event_id)
    draft = draft_after(event, edit)
    statement = (
        events.update()
        .where(events.c.event_id == event_id)
        .values(
            title=draft.title,
            description=draft.description,
            starts_at=draft.starts_at,
            deadline=draft.deadline,
            revision=events.c.revision + 1,
            updated_at=func.now(),
        )
        .returning(events, _ANNOUNCED)
    )
    return _event_of((await connection.execute(statement)).one())


async def cancel(connection: AsyncConnection, event_id: int) -> Event:
    """Cancels the event for good; one that is cancelled already stays as it is. Raises EventNotFound, EventFinal."""
    event = await _lock(connection, event_id)
    if event.finalized_at is not None:
        raise EventFinal(event_id)
    return event if event.cancelled_at else await _mark(connection, event_id, cancelled_at=func.now())


async def finalize(connection: AsyncConnection, event_id: int, *, count: int, total: int) -> Event:
    """Makes the result final; one that is final already stays as it is. Raises EventNotFound and NotToBeFinal."""
    event = await _lock(connection, event_id)
    now: datetime = (await connection.execute(select(func.now()))).scalar_one()
    check_final(event, count=count, total=total, now=now)
    return event if event.finalized_at else await _mark(connection, event_id, finalized_at=func.now())


async def _lock(connection: AsyncConnection, event_id: int) -> Event:
    """The event as nobody changes it until the transaction ends, nor its totals. Raises EventNotFound."""
    query = select(events).where(events.c.event_id == event_id).with_for_update(key_share=True)
    row = (await connection.execute(query)).one_or_none()
    if row is None:
        raise EventNotFound(event_id)
    return _event_of(row)


async def _mark(connection: AsyncConnection, event_id: int, **moment: Any) -> Event:
    statement = (
        events.update()
        .where(events.c.event_id == event_id)
        .values(revision=events.c.revision + 1, updated_at=func.now(), **moment)
        .returning(events, _ANNOUNCED)
    )
    return _event_of((await connection.execute(statement)).one())


async def get(connection: AsyncConnection, event_id: int) -> Event:
    """The event; raises EventNotFound."""
    row = (await connection.execute(select(events).where(events.c.event_id == event_id))).one_or_none()
    if row is None:
        raise EventNotFound(event_id)
    return _event_of(row)


async def get_many(connection: AsyncConnection, event_ids: Sequence[int]) -> list[Event]:
    """Those of the events that exist, by id."""
    query = select(events).where(events.c.event_id == func.any(event_ids)).order_by(events.c.event_id)
    return [_event_of(row) for row in await connection.execute(query)]


async def list_by_id(connection: AsyncConnection, *, limit: int, after: int = 0) -> list[Event]:
    """Events with a higher id than `after`, by id."""
    query = select(events).where(events.c.event_id > after).order_by(events.c.event_id).limit(limit)
    return [_event_of(row) for row in await connection.execute(query)]


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
    return [_event_of(row) for row in await connection.execute(query)]


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


def _event_of(row: Row[Any]) -> Event:
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
