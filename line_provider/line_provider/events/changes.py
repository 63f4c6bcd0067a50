"""What organisers do with events.

Every transaction that changes an event raises its revision and announces its id, so that whoever watches hears of it
at the commit, in whatever process (see watch.py). Nothing here holds until the caller has committed.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Text, cast, func, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from line_provider.events.domain import (
    Event,
    EventCancelled,
    EventDraft,
    EventEdit,
    EventFinal,
    EventNotFound,
    ExternalIdTaken,
    check_draft,
    check_final,
    draft_after,
)
from line_provider.events.queries import event_of
from line_provider.storage.tables import events

# The channel on which the commit of a change announces the event's id.
CHANGE_CHANNEL = "event_changes"

_ANNOUNCED = func.pg_notify(CHANGE_CHANNEL, cast(events.c.event_id, Text))

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
    return [event_of(row) for row in rows]


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
    return event_of((await connection.execute(statement)).one())


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
    return event_of(row)


async def _mark(connection: AsyncConnection, event_id: int, **moment: Any) -> Event:
    statement = (
        events.update()
        .where(events.c.event_id == event_id)
        .values(revision=events.c.revision + 1, updated_at=func.now(), **moment)
        .returning(events, _ANNOUNCED)
    )
    return event_of((await connection.execute(statement)).one())
