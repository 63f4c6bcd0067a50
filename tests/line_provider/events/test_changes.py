"""Changes that organisers make to events, and listings, on a real database."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import product
from uuid import uuid4

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from line_provider.events.changes import (
    cancel_event,
    create_event,
    create_missing_events,
    finalize_event,
    update_event,
)
from line_provider.events.domain import (
    CannotFinalize,
    Event,
    EventCancelled,
    EventDraft,
    EventEdit,
    EventFinal,
    EventNotFound,
    ExternalIdTaken,
    Invalid,
    Order,
    Phase,
    Status,
    phase_of,
)
from line_provider.events.queries import EventFilter, get_event, list_events, position_of
from line_provider.scores.apply import apply_scores
from line_provider.scores.domain import Decision, Reason, ScoreChange, Verdict

AddEvent = Callable[..., Awaitable[Event]]

START = datetime(2026, 6, 11, 19, tzinfo=UTC)
DRAFT = EventDraft(
    title="Mexico – South Africa",
    description="Group A",
    starts_at=START,
    deadline=START + timedelta(hours=48),
    external_id="wc/1",
)
EVERYTHING = EventFilter()


def draft(title: str, description: str = "", *, starts_at: datetime = START, deadline: datetime = START) -> EventDraft:
    return EventDraft(title=title, description=description, starts_at=starts_at, deadline=deadline)


async def create(engine: AsyncEngine, draft: EventDraft) -> Event:
    async with engine.begin() as connection:
        return await create_event(connection, draft)


async def update(engine: AsyncEngine, event_id: int, edit: EventEdit) -> Event:
    async with engine.begin() as connection:
        return await update_event(connection, event_id, edit)


async def cancel(engine: AsyncEngine, event_id: int) -> Event:
    async with engine.begin() as connection:
        return await cancel_event(connection, event_id)


async def finalize(engine: AsyncEngine, event_id: int, *, count: int = 0, total: int = 0) -> Event:
    async with engine.begin() as connection:
        return await finalize_event(connection, event_id, count=count, total=total)


async def titles(engine: AsyncEngine, which: EventFilter = EVERYTHING, order: Order = Order.DEADLINE) -> list[str]:
    async with engine.connect() as connection:
        return [event.title for event in await list_events(connection, which, order, limit=100)]


async def test_a_new_event_is_stored_as_drafted_with_no_ratings(engine: AsyncEngine) -> None:
    event = await create(engine, DRAFT)
    assert (event.title, event.description, event.external_id) == (DRAFT.title, DRAFT.description, "wc/1")
    assert (event.starts_at, event.deadline) == (DRAFT.starts_at, DRAFT.deadline)
    assert (event.status, event.totals.count, event.totals.histogram) == (Status.PROCESSING, 0, (0, 0, 0, 0, 0))
    async with engine.connect() as connection:
        assert await get_event(connection, event.event_id) == event


async def test_an_external_id_is_unique_and_may_be_missing(engine: AsyncEngine) -> None:
    await create(engine, DRAFT)
    with pytest.raises(ExternalIdTaken, match=r"'wc/1'"):
        await create(engine, DRAFT)
    for _ in range(2):
        await create(engine, draft("A talk"))
    assert await titles(engine) == ["A talk", "A talk", DRAFT.title]


async def test_an_update_changes_what_it_names_and_raises_the_revision(engine: AsyncEngine) -> None:
    event = await create(engine, DRAFT)
    updated = await update(engine, event.event_id, EventEdit(title="Final", deadline=START + timedelta(hours=1)))
    assert (updated.title, updated.description, updated.deadline) == ("Final", "Group A", START + timedelta(hours=1))
    assert updated.revision > event.revision


async def test_an_invalid_update_changes_nothing(engine: AsyncEngine) -> None:
    event = await create(engine, DRAFT)
    with pytest.raises(Invalid, match=r"^deadline"):
        await update(engine, event.event_id, EventEdit(title="Final", deadline=START - timedelta(hours=1)))
    async with engine.connect() as connection:
        assert await get_event(connection, event.event_id) == event


async def test_a_cancelled_event_stays_cancelled_and_cannot_be_changed(engine: AsyncEngine) -> None:
    event = await create(engine, DRAFT)
    cancelled = await cancel(engine, event.event_id)
    assert cancelled.cancelled_at is not None
    assert cancelled.revision > event.revision
    assert await cancel(engine, event.event_id) == cancelled
    with pytest.raises(EventCancelled):
        await update(engine, event.event_id, EventEdit(title="Final"))


async def test_concurrent_cancellations_cancel_once(engine: AsyncEngine) -> None:
    event = await create(engine, DRAFT)
    outcomes = await asyncio.gather(*(cancel(engine, event.event_id) for _ in range(5)))
    assert {outcome.revision for outcome in outcomes} == {event.revision + 1}


async def test_an_unknown_event_is_not_found(engine: AsyncEngine) -> None:
    for attempt in (cancel(engine, 999), update(engine, 999, EventEdit(title="Final"))):
        with pytest.raises(EventNotFound, match=r"event 999 does not exist"):
            await attempt


async def test_each_order_comes_page_by_page_with_ties_by_id_and_nothing_twice(engine: AsyncEngine) -> None:
    for days in (3, 1, 2, 1, 1, 3, 2):
        await create(
            engine, draft("same", starts_at=START + timedelta(days=days), deadline=START + timedelta(days=9 - days))
        )
    async with engine.begin() as connection:  # one transaction: all of them created at the same moment
        await create_missing_events(connection, [draft(f"tie {n}") for n in range(4)])
    async with engine.connect() as connection:
        for order in Order:
            whole = await list_events(connection, EVERYTHING, order, limit=100)
            assert len(whole) == 11
            paged: list[Event] = []
            while page := await list_events(
                connection, EVERYTHING, order, limit=3, after=position_of(paged[-1], order) if paged else None
            ):
                paged += page
            assert paged == whole
        by_start = await list_events(connection, EVERYTHING, Order.STARTS_AT, limit=100)
        assert by_start == sorted(by_start, key=lambda event: (event.starts_at, event.event_id))
        newest = await list_events(connection, EVERYTHING, Order.NEWEST, limit=100)
        assert newest == sorted(newest, key=lambda event: (-event.created_at.timestamp(), event.event_id))
        by_deadline = await list_events(connection, EVERYTHING, Order.DEADLINE, limit=100)
        assert by_deadline == sorted(by_deadline, key=lambda event: (event.deadline, event.event_id))


async def test_a_result_becomes_final_after_the_deadline_and_nothing_changes_it_any_more(
    engine: AsyncEngine, add_event: AddEvent
) -> None:
    event = await add_event(deadline_in=timedelta(hours=-1))
    change = ScoreChange(event_id=event.event_id, rater_id=uuid4(), value=4, version=1, accepted_at=event.deadline)
    async with engine.begin() as connection:
        await apply_scores(connection, [change], high_score_from=Decimal(3))

    with pytest.raises(CannotFinalize, match="line_provider has count 1, sum 4, not count 0, sum 0"):
        await finalize(engine, event.event_id)
    final = await finalize(engine, event.event_id, count=1, total=4)
    assert final.finalized_at is not None
    assert await finalize(engine, event.event_id, count=1, total=4) == final

    late = replace(change, version=2, value=1)
    async with engine.begin() as connection:
        decisions = await apply_scores(connection, [late, change], high_score_from=Decimal(3))
    assert decisions == [Decision(Verdict.REJECTED, Reason.EVENT_FINAL), Decision(Verdict.DUPLICATE)]
    with pytest.raises(EventFinal):
        await update(engine, event.event_id, EventEdit(title="another"))
    with pytest.raises(EventFinal):
        await cancel(engine, event.event_id)
    with pytest.raises(CannotFinalize, match="not count 2"):
        await finalize(engine, event.event_id, count=2, total=4)


async def test_an_open_or_cancelled_event_does_not_become_final(engine: AsyncEngine, add_event: AddEvent) -> None:
    is_open, cancelled = await add_event(), await add_event(deadline_in=timedelta(hours=-1))
    await cancel(engine, cancelled.event_id)
    with pytest.raises(CannotFinalize, match=r"its deadline, .*, has not passed"):
        await finalize(engine, is_open.event_id)
    with pytest.raises(CannotFinalize, match="it is cancelled"):
        await finalize(engine, cancelled.event_id)
    with pytest.raises(EventNotFound):
        await finalize(engine, 12345)


async def test_a_listing_is_filtered_by_phase_as_the_rule_says(engine: AsyncEngine, add_event: AddEvent) -> None:
    for number, (hours, cancelled) in enumerate(product((-72, -1, 1, 72), (False, True))):
        event = await add_event(str(number), deadline_in=timedelta(hours=hours))
        if cancelled:
            await cancel(engine, event.event_id)
    ended = await add_event("ended", deadline_in=timedelta(hours=-2))
    await finalize(engine, ended.event_id)
    async with engine.connect() as connection:
        now = datetime.now(UTC)
        everything = await list_events(connection, EVERYTHING, Order.DEADLINE, limit=100)
        for phase in Phase:
            listed = await list_events(connection, EventFilter(phase=phase), Order.DEADLINE, limit=100)
            assert listed == [event for event in everything if phase_of(event, now) is phase] != []


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("méxico", ["MÉXICO – Perú"]),
        ("PERÚ", ["MÉXICO – Perú"]),
        ("100%", ["100% effort"]),
        ("%", ["100% effort"]),
        ("_", ["snake_case"]),
        ("\\", ["back\\slash"]),
        ("/", ["a/b"]),
        ("'; DROP TABLE events; --", []),
        ("described", ["snake_case"]),
        ("", ["MÉXICO – Perú", "100% effort", "snake_case", "back\\slash", "a/b"]),
    ],
)
async def test_a_query_is_taken_literally_in_any_letter_case(engine: AsyncEngine, query: str, found: list[str]) -> None:
    for title in ("MÉXICO – Perú", "100% effort", "snake_case", "back\\slash", "a/b"):
        await create(engine, draft(title, "Described" if title == "snake_case" else ""))
    assert await titles(engine, EventFilter(query=query)) == found
