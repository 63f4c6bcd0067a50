"""Applying scores to a real database: once each, in whatever order, however many at a time."""

import asyncio
import random
from collections.abc import Awaitable, Callable, Iterable, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from uuid import UUID, uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncEngine

from devstack.table_scans import rows_read_through
from line_provider.events.changes import cancel_event, update_event
from line_provider.events.domain import Event, EventEdit, Status, Totals
from line_provider.events.queries import get_event
from line_provider.scale import SCALE
from line_provider.scores.apply import apply_scores, refresh_statuses
from line_provider.scores.domain import Decision, Reason, ScoreChange, Verdict
from line_provider.scores.queries import get_totals
from line_provider.storage.migrate import migrate
from scoreline_common.database import create_engine

AddEvent = Callable[..., Awaitable[Event]]

APPLIED = Decision(Verdict.APPLIED)
DUPLICATE = Decision(Verdict.DUPLICATE)


def rejected(reason: Reason) -> Decision:
    return Decision(Verdict.REJECTED, reason)


def change(
    event_id: int,
    value: int | None = 4,
    *,
    rater: UUID | None = None,
    version: int = 1,
    accepted_at: datetime | None = None,
) -> ScoreChange:
    return ScoreChange(
        event_id=event_id,
        rater_id=rater or uuid4(),
        value=value,
        version=version,
        accepted_at=accepted_at or datetime.now(UTC),
    )


async def apply(engine: AsyncEngine, *changes: ScoreChange, threshold: str = "3") -> list[Decision]:
    async with engine.begin() as connection:
        return await apply_scores(connection, changes, high_score_from=Decimal(threshold))


async def read(engine: AsyncEngine, event_id: int) -> Event:
    async with engine.connect() as connection:
        return await get_event(connection, event_id)


async def cancel(engine: AsyncEngine, event_id: int) -> None:
    async with engine.begin() as connection:
        await cancel_event(connection, event_id)


async def finalize(engine: AsyncEngine, event_id: int) -> None:
    async with engine.begin() as connection:
        await connection.execute(
            text("UPDATE events SET finalized_at = now() WHERE event_id = :event_id"), {"event_id": event_id}
        )


async def rebuilt_totals(engine: AsyncEngine) -> dict[int, Totals]:
    """The totals recomputed from the applied scores, for each event that has any row."""
    async with engine.connect() as connection:
        rows = await connection.execute(text("SELECT event_id, value FROM applied_scores"))
        values: dict[int, list[int]] = {}
        for row in rows:
            values.setdefault(row.event_id, []).extend([] if row.value is None else [row.value])
    return {event_id: totals_of(standing) for event_id, standing in values.items()}


def totals_of(values: Sequence[int]) -> Totals:
    return Totals(len(values), sum(values), tuple(values.count(value) for value in SCALE))


async def test_a_first_rating_counts_and_gives_the_event_its_status(engine: AsyncEngine, add_event: AddEvent) -> None:
    event = await add_event()
    assert event.status is Status.PROCESSING
    assert await apply(engine, change(event.event_id, 3)) == [APPLIED]
    after = await read(engine, event.event_id)
    assert (after.status, after.totals) == (Status.HIGH_SCORE, Totals(1, 3, (0, 0, 1, 0, 0)))
    assert after.revision > event.revision


async def test_a_change_of_mind_replaces_the_rating_and_a_withdrawal_removes_it(
    engine: AsyncEngine, add_event: AddEvent
) -> None:
    event_id, rater = (await add_event()).event_id, uuid4()
    seen = []
    for version, value in enumerate((5, 1, None, 2), start=1):
        assert await apply(engine, change(event_id, value, rater=rater, version=version)) == [APPLIED]
        event = await read(engine, event_id)
        seen.append((event.status, event.totals))
    assert seen == [
        (Status.HIGH_SCORE, totals_of([5])),
        (Status.LOW_SCORE, totals_of([1])),
        (Status.PROCESSING, totals_of([])),
        (Status.LOW_SCORE, totals_of([2])),
    ]


@pytest.mark.parametrize(
    ("values", "threshold", "status"),
    [
        ((3, 3), "3", Status.HIGH_SCORE),
        ((2, 3), "3", Status.LOW_SCORE),
        ((1, 5), "3", Status.HIGH_SCORE),
        ((3, 4), "3.5", Status.HIGH_SCORE),
        ((3, 3, 4), "3.34", Status.LOW_SCORE),
        ((5,), "5", Status.HIGH_SCORE),
        ((1,), "1", Status.HIGH_SCORE),
    ],
)
async def test_the_average_is_compared_with_the_threshold(
    engine: AsyncEngine, add_event: AddEvent, values: Sequence[int], threshold: str, status: Status
) -> None:
    event_id = (await add_event()).event_id
    await apply(engine, *(change(event_id, value) for value in values), threshold=threshold)
    assert (await read(engine, event_id)).status is status


async def test_a_changed_threshold_refreshes_every_status(engine: AsyncEngine, add_event: AddEvent) -> None:
    middling, good, unrated = [(await add_event()).event_id for _ in range(3)]
    await apply(engine, change(middling, 3), change(good, 5))
    before = {event_id: await read(engine, event_id) for event_id in (middling, good, unrated)}
    async with engine.begin() as connection:
        await refresh_statuses(connection, high_score_from=Decimal(4))
    after = {event_id: await read(engine, event_id) for event_id in (middling, good, unrated)}
    assert after[middling].status is Status.LOW_SCORE
    assert after[middling].revision > before[middling].revision
    assert (after[good], after[unrated]) == (before[good], before[unrated])


async def test_each_rejection_has_its_reason_and_does_not_affect_other_changes(
    engine: AsyncEngine, add_event: AddEvent
) -> None:
    fine, cancelled, final, closed = [(await add_event()).event_id for _ in range(3)] + [
        (await add_event(deadline_in=-timedelta(minutes=1))).event_id
    ]
    await cancel(engine, cancelled)
    await finalize(engine, final)
    decisions = await apply(
        engine, change(999), change(cancelled), change(fine), change(final), change(closed), change(fine)
    )
    assert decisions == [
        rejected(Reason.EVENT_NOT_FOUND),
        rejected(Reason.EVENT_CANCELLED),
        APPLIED,
        rejected(Reason.EVENT_FINAL),
        rejected(Reason.DEADLINE_PASSED),
        APPLIED,
    ]
    assert await rebuilt_totals(engine) == {fine: totals_of([4, 4])}


async def test_a_rating_accepted_at_the_deadline_counts_and_one_a_moment_later_does_not(
    engine: AsyncEngine, add_event: AddEvent
) -> None:
    event = await add_event(deadline_in=-timedelta(hours=1))
    on_time = change(event.event_id, accepted_at=event.deadline)
    late = change(event.event_id, accepted_at=event.deadline + timedelta(microseconds=1))
    assert await apply(engine, on_time, late) == [APPLIED, rejected(Reason.DEADLINE_PASSED)]


@pytest.mark.parametrize("end", [cancel, finalize])
async def test_a_repeat_is_a_duplicate_whatever_has_become_of_the_event_since(
    engine: AsyncEngine, add_event: AddEvent, end: Callable[[AsyncEngine, int], Awaitable[None]]
) -> None:
    event_id, rater = (await add_event()).event_id, uuid4()
    first, second = (change(event_id, rater=rater, version=version) for version in (1, 2))
    assert await apply(engine, second) == [APPLIED]
    await end(engine, event_id)
    (refused,) = await apply(engine, change(event_id, rater=rater, version=3))
    assert refused.verdict is Verdict.REJECTED
    assert await apply(engine, first, second) == [DUPLICATE, DUPLICATE]
    assert (await read(engine, event_id)).totals == totals_of([4])


async def test_the_highest_of_several_versions_in_a_batch_is_applied_and_supersedes_the_others(
    engine: AsyncEngine, add_event: AddEvent
) -> None:
    event_id, rater = (await add_event()).event_id, uuid4()
    batch = [change(event_id, value, rater=rater, version=value) for value in (2, 4, 1, 3)]
    assert await apply(engine, *batch) == [DUPLICATE, APPLIED, DUPLICATE, DUPLICATE]
    assert await apply(engine, *batch) == [DUPLICATE] * 4
    assert (await read(engine, event_id)).totals == totals_of([4])


async def test_a_late_version_does_not_reject_an_earlier_one_of_its_batch(
    engine: AsyncEngine, add_event: AddEvent
) -> None:
    event = await add_event(deadline_in=-timedelta(hours=1))
    rater = uuid4()
    on_time = change(event.event_id, 5, rater=rater, version=1, accepted_at=event.deadline)
    late = change(event.event_id, 1, rater=rater, version=2, accepted_at=event.deadline + timedelta(seconds=1))
    assert await apply(engine, late, on_time) == [rejected(Reason.DEADLINE_PASSED), APPLIED]
    assert await apply(engine, on_time, late) == [DUPLICATE, rejected(Reason.DEADLINE_PASSED)]
    assert (await read(engine, event.event_id)).totals == totals_of([5])


async def test_a_message_that_is_in_a_batch_twice_is_applied_once(engine: AsyncEngine, add_event: AddEvent) -> None:
    once = change((await add_event()).event_id)
    assert await apply(engine, once, once) == [APPLIED, DUPLICATE]
    assert (await read(engine, once.event_id)).totals == totals_of([4])


async def test_nothing_of_a_batch_that_was_rolled_back_remains(engine: AsyncEngine, add_event: AddEvent) -> None:
    event = await add_event()
    async with engine.connect() as connection:
        await apply_scores(connection, [change(event.event_id)], high_score_from=Decimal(3))
        await connection.rollback()
    assert await read(engine, event.event_id) == event
    assert await rebuilt_totals(engine) == {}


async def waits_for_a_lock(engine: AsyncEngine) -> None:
    """Returns once some session of this database waits for a lock."""
    waiting = text("""
        SELECT EXISTS (
            SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'
        )
    """)
    async with asyncio.timeout(20), engine.connect() as connection:
        while not await connection.scalar(waiting):
            await connection.rollback()


async def test_a_batch_that_waited_for_a_cancellation_is_rejected_by_it(
    engine: AsyncEngine, add_event: AddEvent
) -> None:
    event_id = (await add_event()).event_id
    async with engine.begin() as cancelling:
        await cancel_event(cancelling, event_id)
        applying = asyncio.create_task(apply(engine, change(event_id)))
        await waits_for_a_lock(engine)
    assert await applying == [rejected(Reason.EVENT_CANCELLED)]
    assert (await read(engine, event_id)).totals == totals_of([])


async def test_a_repeat_that_waited_while_its_first_delivery_was_applied_and_the_event_cancelled_is_a_duplicate(
    engine: AsyncEngine, add_event: AddEvent
) -> None:
    delivered = change((await add_event()).event_id)
    async with engine.begin() as first:
        assert await apply_scores(first, [delivered], high_score_from=Decimal(3)) == [APPLIED]
        repeating = asyncio.create_task(apply(engine, delivered))
        await waits_for_a_lock(engine)
        await cancel_event(first, delivered.event_id)
    assert await repeating == [DUPLICATE]


async def test_a_deadline_that_was_moved_meanwhile_is_the_one_that_counts(
    engine: AsyncEngine, add_event: AddEvent
) -> None:
    event = await add_event()
    async with engine.begin() as moving:
        earlier = event.deadline - timedelta(hours=1)
        await update_event(moving, event.event_id, EventEdit(deadline=earlier))
        applying = asyncio.create_task(apply(engine, change(event.event_id, accepted_at=event.deadline)))
        await waits_for_a_lock(engine)
    assert await applying == [rejected(Reason.DEADLINE_PASSED)]


async def test_many_shuffled_batches_at_once_neither_deadlock_nor_count_anything_twice(
    engine: AsyncEngine, add_event: AddEvent
) -> None:
    chance = random.Random(20260611)
    event_ids = [(await add_event(f"event {number}")).event_id for number in range(8)]
    raters = [UUID(int=number) for number in range(60)]
    messages = [
        change(event_id, chance.choice([*SCALE, None]), rater=rater, version=version)
        for event_id in event_ids
        for rater in raters
        for version in range(1, 4)
    ]
    delivered = messages * 3
    chance.shuffle(delivered)
    batches = [delivered[start : start + 90] for start in range(0, len(delivered), 90)]

    decisions = await asyncio.gather(*(apply(engine, *batch) for batch in batches))

    assert {decision.verdict for batch in decisions for decision in batch} == {Verdict.APPLIED, Verdict.DUPLICATE}
    expected = {
        event_id: totals_of([m.value for m in messages if m.event_id == event_id and m.version == 3 and m.value])
        for event_id in event_ids
    }
    async with engine.connect() as connection:
        assert await get_totals(connection, event_ids) == expected
    assert await rebuilt_totals(engine) == expected


async def test_totals_leave_unknown_events_out(engine: AsyncEngine, add_event: AddEvent) -> None:
    first, second = (await add_event()).event_id, (await add_event()).event_id
    await apply(engine, change(second, 5))
    async with engine.connect() as connection:
        totals = await get_totals(connection, [second, 999, first, second])
    assert totals == {first: totals_of([]), second: totals_of([5])}


async def test_migrating_again_and_several_at_once_changes_nothing(
    engine: AsyncEngine, add_event: AddEvent, owner_url: str
) -> None:
    event = await add_event()
    await asyncio.gather(migrate(owner_url), migrate(owner_url))
    assert await read(engine, event.event_id) == event


# The model: an event is a deadline and an end, and the highest admitted version of each score counts.

DEADLINE = datetime(2026, 6, 13, 19, tzinfo=UTC)
OPEN, CANCELLED, UNKNOWN = 1, 2, 3

messages = st.builds(
    ScoreChange,
    event_id=st.sampled_from([OPEN, OPEN, OPEN, CANCELLED, UNKNOWN]),
    rater_id=st.integers(1, 3).map(lambda number: UUID(int=number)),
    value=st.none() | st.sampled_from(SCALE),
    version=st.integers(1, 4),
    accepted_at=st.sampled_from([DEADLINE - timedelta(days=1), DEADLINE, DEADLINE + timedelta(microseconds=1)]),
)
# A version has one content: a repeat is a repeat of the whole message.
histories = st.lists(messages, max_size=25, unique_by=lambda m: (m.event_id, m.rater_id, m.version))


def standing(history: Iterable[ScoreChange]) -> list[int]:
    admitted = [m for m in history if m.event_id == OPEN and m.accepted_at <= DEADLINE]
    latest = {m.rater_id: m.value for m in sorted(admitted, key=lambda m: m.version)}
    return [value for value in latest.values() if value is not None]


async def with_two_events(engine: AsyncEngine) -> None:
    async with engine.begin() as connection:
        await connection.execute(text("TRUNCATE events, applied_scores RESTART IDENTITY"))
        await connection.execute(
            text("""
                INSERT INTO events (title, description, starts_at, deadline, cancelled_at)
                VALUES ('open', '', :deadline, :deadline, NULL), ('cancelled', '', :deadline, :deadline, :deadline)
            """),
            {"deadline": DEADLINE},
        )


def in_batches(history: Sequence[ScoreChange], data: st.DataObject) -> list[list[ScoreChange]]:
    cuts = sorted(data.draw(st.sets(st.integers(0, len(history)), max_size=4)) | {0, len(history)})
    return [list(history[start:end]) for start, end in pairwise(cuts)]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(history=histories, data=st.data())
async def test_batches_delivered_twice_shuffled_and_out_of_order_leave_what_one_delivery_in_order_leaves(
    engine: AsyncEngine, history: list[ScoreChange], data: st.DataObject
) -> None:
    in_order = sorted(history, key=lambda m: m.version)
    await with_two_events(engine)
    for message in in_order:
        await apply(engine, message)
    once = await read(engine, OPEN)

    await with_two_events(engine)
    delivered = list(data.draw(st.permutations(history * 2)))
    verdicts: dict[ScoreChange, set[Verdict]] = {}
    for batch in in_batches(delivered, data):
        for message, decision in zip(batch, await apply(engine, *batch), strict=True):
            verdicts.setdefault(message, set()).add(decision.verdict)
    shuffled = await read(engine, OPEN)

    assert (shuffled.totals, shuffled.status) == (once.totals, once.status)
    values = standing(history)
    assert shuffled.totals == totals_of(values)
    average = sum(values) / len(values) if values else 0
    expected = Status.HIGH_SCORE if average >= 3 else Status.LOW_SCORE
    assert shuffled.status is (expected if values else Status.PROCESSING)
    for message, seen in verdicts.items():
        if message.event_id == OPEN and message.accepted_at <= DEADLINE:
            assert Verdict.REJECTED not in seen
        elif message.event_id != OPEN:
            assert seen == {Verdict.REJECTED}


async def test_small_batches_never_scan_a_table_that_was_not_analysed(
    engine: AsyncEngine, database_url: str, add_event: AddEvent
) -> None:
    event_id = (await add_event()).event_id
    # One session, so that its plans are those that PostgreSQL keeps.
    session = create_engine(database_url, pool_size=1)
    before = await rows_read_through(session, "applied_scores")
    for _ in range(40):
        await apply(session, *(change(event_id) for _ in range(5)))
    assert await rows_read_through(session, "applied_scores") == before
    await session.dispose()


async def test_the_database_accepts_exactly_the_values_of_the_scale(engine: AsyncEngine) -> None:
    insert = text("INSERT INTO applied_scores VALUES (1, gen_random_uuid(), :value, 1, now())")
    async with engine.begin() as connection:
        for value in SCALE:
            await connection.execute(insert, {"value": value})
    for outside in (SCALE.start - 1, SCALE.stop):
        async with engine.connect() as connection:
            with pytest.raises(IntegrityError):
                await connection.execute(insert, {"value": outside})


async def test_each_value_of_the_scale_has_its_place_in_the_histogram(engine: AsyncEngine, add_event: AddEvent) -> None:
    event_id = (await add_event()).event_id
    values = [value for value in SCALE for _ in range(value)]
    await apply(engine, *(change(event_id, value) for value in values))
    assert (await read(engine, event_id)).totals == totals_of(values)
