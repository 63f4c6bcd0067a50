"""Changes that organisers make to events, and the end of an event's result.

Every transaction that changes an event raises its revision and announces its id on a channel, so that every process
that watches learns of the change when it commits (see watch.py). Nothing here is durable before the caller commits.
"""

from collections.abc import Sequence
from dataclasses import fields
from datetime import datetime
from typing import Any

from sqlalchemy import Text, cast, func, select, text
from sqlalchemy.dialects import postgresql
from sqlalchemy.ext.asyncio import AsyncConnection

from line_provider.events.domain import (
    Event,
    EventCancelled,
    EventDraft,
    EventEdit,
    EventFinal,
    EventNotFound,
    ExternalIdTaken,
    check_can_finalize,
    check_draft,
    edited,
)
from line_provider.events.queries import event_of
from line_provider.storage.channels import EVENT_CHANGES
from line_provider.storage.tables import events

_ANNOUNCED = func.pg_notify(EVENT_CHANGES, cast(events.c.event_id, Text))

_DRAFT_FIELDS = tuple(field.name for field in fields(EventDraft))
_COLUMNS = ", ".join(_DRAFT_FIELDS)


def _array(name: str) -> str:
    column_type = events.c[name].type.compile(dialect=postgresql.dialect())  # type: ignore[no-untyped-call]
    return f"CAST(:{name} AS {column_type}[])"


# One array for each column, so that the statement is the same however many events it creates.
_INSERT = text(f"""
    INSERT INTO events ({_COLUMNS})
    SELECT {_COLUMNS}
    FROM unnest({", ".join(map(_array, _DRAFT_FIELDS))}) WITH ORDINALITY AS draft({_COLUMNS}, position)
    ORDER BY position
    ON CONFLICT (external_id) DO NOTHING
    RETURNING *, pg_notify('{EVENT_CHANGES}', event_id::text)
""")  # noqa: S608 - the fragments are names of our own columns


async def create_missing_events(connection: AsyncConnection, drafts: Sequence[EventDraft]) -> list[Event]:
    """Creates the events whose external_id does not exist yet, and returns them. The drafts must be checked."""
    values = {name: [getattr(draft, name) for draft in drafts] for name in _DRAFT_FIELDS}
    return [event_of(row) for row in await connection.execute(_INSERT, values)]


async def create_event(connection: AsyncConnection, draft: EventDraft) -> Event:
    """Creates the event. Raises Invalid, or ExternalIdTaken; nothing is written then."""
    created = await create_missing_events(connection, [check_draft(draft)])
    if not created:
        raise ExternalIdTaken(draft.external_id or "")
    return created[0]


async def update_event(connection: AsyncConnection, event_id: int, edit: EventEdit) -> Event:
    """Changes the fields that the edit contains. Raises EventNotFound, EventCancelled, EventFinal and Invalid."""
    event = await _lock(connection, event_id)
    if event.cancelled_at is not None:
        raise EventCancelled(event_id)
    if event.finalized_at is not None:
        raise EventFinal(event_id)
    edited(event, edit)
    return await _change(connection, event_id, **edit)


async def cancel_event(connection: AsyncConnection, event_id: int) -> Event:
    """Cancels the event for good; a cancelled event stays as it is. Raises EventNotFound and EventFinal."""
    event = await _lock(connection, event_id)
    if event.finalized_at is not None:
        raise EventFinal(event_id)
    return event if event.cancelled_at else await _change(connection, event_id, cancelled_at=func.now())


async def finalize_event(connection: AsyncConnection, event_id: int, *, count: int, total: int) -> Event:
    """Makes the result final; a final event stays as it is. Raises EventNotFound and CannotFinalize.

    `count` and `total` are the caller's number and sum of the ratings that count; they must equal those stored here.
    """
    event = await _lock(connection, event_id)
    now: datetime = (await connection.execute(select(func.now()))).scalar_one()
    check_can_finalize(event, count=count, total=total, now=now)
    return event if event.finalized_at else await _change(connection, event_id, finalized_at=func.now())


async def _lock(connection: AsyncConnection, event_id: int) -> Event:
    """Returns the event, locked until the transaction ends: no other changes it or its totals. Raises EventNotFound."""
    query = select(events).where(events.c.event_id == event_id).with_for_update(key_share=True)
    row = (await connection.execute(query)).one_or_none()
    if row is None:
        raise EventNotFound(event_id)
    return event_of(row)


async def _change(connection: AsyncConnection, event_id: int, **values: Any) -> Event:
    """Writes the columns and announces the change. The caller must hold the event's lock."""
    statement = (
        events.update()
        .where(events.c.event_id == event_id)
        .values(**values, revision=events.c.revision + 1, updated_at=func.now())
        .returning(events, _ANNOUNCED)
    )
    return event_of((await connection.execute(statement)).one())
