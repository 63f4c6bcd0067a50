"""The watch of events over real channels: a snapshot, then every change, and nothing missed when something breaks."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Never
from uuid import uuid4

import grpc
import pytest
from sqlalchemy import text
from sqlalchemy.exc import OperationalError
from sqlalchemy.ext.asyncio import AsyncEngine

from line_provider.events import watch as watch_module
from line_provider.events.changes import cancel_event, create_missing_events, update_event
from line_provider.events.domain import Event, EventDraft, EventEdit
from line_provider.events.watch import PAGE, EventWatch, WatchInterrupted
from line_provider.grpc_server import event_service
from line_provider.grpc_server.event_service import LARGEST_BATCH
from line_provider.scores.apply import apply_scores
from line_provider.scores.domain import ScoreChange
from scoreline.line_provider.v1 import events_pb2
from scoreline_common.background import BackgroundTasks
from tests.support.running_server import ADMIN, RunningServer, serving

AddEvent = Callable[..., Awaitable[Event]]


def watch(
    server: RunningServer, *, in_batches: bool = False
) -> "grpc.aio.UnaryStreamCall[Any, events_pb2.WatchEventsResponse]":
    return server.events.WatchEvents(events_pb2.WatchEventsRequest(in_batches=in_batches))


async def snapshot(call: "grpc.aio.UnaryStreamCall[Any, events_pb2.WatchEventsResponse]") -> list[events_pb2.Event]:
    sent: list[events_pb2.Event] = []
    while not (message := await read(call)).HasField("snapshot_complete"):
        sent.append(message.event)
    return sent


async def read(
    call: "grpc.aio.UnaryStreamCall[Any, events_pb2.WatchEventsResponse]",
) -> events_pb2.WatchEventsResponse:
    async with asyncio.timeout(20):
        message = await call.read()
    assert isinstance(message, events_pb2.WatchEventsResponse)
    return message


def draft(title: str, description: str = "") -> EventDraft:
    now = datetime.now(UTC)
    return EventDraft(title=title, description=description, starts_at=now, deadline=now)


async def rate(engine: AsyncEngine, event_id: int, value: int = 5) -> None:
    change = ScoreChange(event_id=event_id, rater_id=uuid4(), value=value, version=1, accepted_at=datetime.now(UTC))
    async with engine.begin() as connection:
        await apply_scores(connection, [change], high_score_from=Decimal(3))


async def break_the_listening_connections(service_engine: AsyncEngine) -> None:
    async with service_engine.connect() as connection:
        broken = await connection.execute(
            text("""
                SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                WHERE datname = current_database() AND query LIKE 'LISTEN%'
            """)
        )
        assert broken.all()


async def test_a_watch_sends_every_event_and_then_each_change(
    server: RunningServer, engine: AsyncEngine, add_event: AddEvent
) -> None:
    first, second = await add_event("first"), await add_event("second")
    call = watch(server)
    assert [(event.event_id, event.title) for event in await snapshot(call)] == [
        (first.event_id, "first"),
        (second.event_id, "second"),
    ]

    await rate(engine, second.event_id)
    rated = (await read(call)).event
    assert (rated.event_id, rated.totals.count, rated.status) == (
        second.event_id,
        1,
        events_pb2.EVENT_STATUS_HIGH_SCORE,
    )
    assert rated.revision > second.revision

    third = await add_event("third")
    assert (await read(call)).event.event_id == third.event_id
    async with engine.begin() as connection:
        await update_event(connection, first.event_id, EventEdit(title="renamed"))
    assert (await read(call)).event.title == "renamed"
    await server.events.CancelEvent(events_pb2.CancelEventRequest(event_id=first.event_id), metadata=ADMIN)
    assert (await read(call)).event.HasField("cancelled_at")


async def test_a_change_that_was_rolled_back_is_not_sent(
    server: RunningServer, engine: AsyncEngine, add_event: AddEvent
) -> None:
    event = await add_event()
    call = watch(server)
    await snapshot(call)
    async with engine.connect() as connection:
        await cancel_event(connection, event.event_id)
        await connection.rollback()
    await rate(engine, event.event_id)
    sent = (await read(call)).event
    assert (sent.HasField("cancelled_at"), sent.totals.count) == (False, 1)


async def test_a_snapshot_of_several_pages_is_whole(server: RunningServer, engine: AsyncEngine) -> None:
    async with engine.begin() as connection:
        await create_missing_events(connection, [draft(str(n)) for n in range(PAGE * 2 + 1)])
    sent = await snapshot(watch(server))
    assert [event.title for event in sent] == [str(number) for number in range(PAGE * 2 + 1)]


async def test_a_snapshot_comes_in_batches_on_request_and_none_is_too_large(
    server: RunningServer, engine: AsyncEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with engine.begin() as connection:
        await create_missing_events(connection, [draft(str(n)) for n in range(LARGEST_BATCH + 1)])
        await create_missing_events(connection, [draft(f"long {n}", "x" * 900) for n in range(3)])
    monkeypatch.setattr(event_service, "LARGEST_MESSAGE_BYTES", 2_500)
    call = watch(server, in_batches=True)
    batches: list[list[events_pb2.Event]] = []
    while not (message := await read(call)).HasField("snapshot_complete"):
        batches.append(list(message.batch.events))
    sent_titles = [event.title for batch in batches for event in batch]
    assert sent_titles == [*map(str, range(LARGEST_BATCH + 1)), "long 0", "long 1", "long 2"]
    assert all(sum(event.ByteSize() for event in batch) <= 2_500 for batch in batches)
    assert 3 <= len(batches) < LARGEST_BATCH

    monkeypatch.undo()
    again = watch(server, in_batches=True)
    sizes = [len((await read(again)).batch.events) for _ in range(2)]
    assert sizes == [LARGEST_BATCH, 4]


async def test_changes_of_one_commit_are_sent_in_one_batch(
    server: RunningServer, engine: AsyncEngine, add_event: AddEvent
) -> None:
    first, second = await add_event("first"), await add_event("second")
    call = watch(server, in_batches=True)
    assert len((await read(call)).batch.events) == 2
    assert (await read(call)).HasField("snapshot_complete")

    async def rename_both(title: str) -> None:
        async with engine.begin() as connection:
            for event in (first, second):
                await update_event(connection, event.event_id, EventEdit(title=title))

    # Their creation may still be on its way to the watch. It is not once both have been sent.
    await rename_both("once")
    sent_ids = set[int]()
    while len(sent_ids) < 2:
        sent_ids |= {event.event_id for event in (await read(call)).batch.events}
    await rename_both("renamed")
    sent = (await read(call)).batch.events
    assert [(event.event_id, event.title) for event in sent] == [
        (first.event_id, "renamed"),
        (second.event_id, "renamed"),
    ]


async def test_a_change_made_at_one_server_is_sent_by_the_other(
    server: RunningServer, engine: AsyncEngine, add_event: AddEvent, database_url: str
) -> None:
    event = await add_event()
    async with serving(database_url) as other:
        here, there = watch(server), watch(other)
        await snapshot(here)
        await snapshot(there)
        cancel = events_pb2.CancelEventRequest(event_id=event.event_id)
        cancelled = (await server.events.CancelEvent(cancel, metadata=ADMIN)).event
        assert (await read(here)).event == (await read(there)).event == cancelled


async def test_watches_end_when_announcements_may_be_missed_and_a_new_watch_has_everything(
    server: RunningServer, engine: AsyncEngine, service_engine: AsyncEngine, add_event: AddEvent
) -> None:
    event = await add_event()
    call = watch(server)
    await snapshot(call)
    await break_the_listening_connections(service_engine)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await read(call)
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE

    await rate(engine, event.event_id)
    again = watch(server)
    assert [sent.totals.count for sent in await snapshot(again)] == [1]
    await rate(engine, event.event_id)
    assert (await read(again)).event.totals.count == 2


async def test_a_stopping_server_ends_its_watches(server: RunningServer, add_event: AddEvent) -> None:
    await add_event()
    call = watch(server)
    await snapshot(call)
    server.stop.set()
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await read(call)
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE


@asynccontextmanager
async def running_watch(engine: AsyncEngine) -> AsyncIterator[EventWatch]:
    events = EventWatch(engine)
    async with BackgroundTasks() as background:
        background.start("announcements", events.receive_announcements())
        background.start("published-changes", events.publish_changes())
        yield events
        assert background.failed_task is None


async def until_snapshot_complete(stream: AsyncIterator[list[Event] | None]) -> list[Event]:
    sent: list[Event] = []
    while (page := await anext(stream)) is not None:
        sent += page
    return sent


async def _first(stream: AsyncIterator[list[Event] | None], count: int) -> AsyncIterator[Event]:
    while count:
        for event in await anext(stream) or []:
            yield event
            count -= 1


async def test_a_slow_watcher_gets_the_latest_state_of_each_event_once(
    engine: AsyncEngine, add_event: AddEvent
) -> None:
    hot, other = await add_event("hot"), await add_event("other")
    async with running_watch(engine) as events:
        slow, quick = events.subscribe(), events.subscribe()
        await until_snapshot_complete(slow)
        await until_snapshot_complete(quick)
        for _ in range(30):
            await rate(engine, hot.event_id)
        async with asyncio.timeout(20):
            while (sent := await anext(quick)) is None or sent[0].totals.count < 30:
                pass
        await rate(engine, other.event_id)
        async with asyncio.timeout(20):
            latest = [event async for event in _first(slow, 2)]
    assert [(event.event_id, event.totals.count) for event in latest] == [
        (hot.event_id, 30),
        (other.event_id, 1),
    ]


async def test_changes_during_the_snapshot_are_sent_and_never_an_older_state_after_a_newer(
    engine: AsyncEngine, add_event: AddEvent
) -> None:
    async with engine.begin() as connection:
        created = await create_missing_events(connection, [draft(str(number)) for number in range(PAGE + 1)])
    early, late = created[0].event_id, created[-1].event_id
    async with running_watch(engine) as events:
        stream = events.subscribe()
        revisions: dict[int, list[int]] = {}
        first = await anext(stream)
        assert first is not None
        assert len(first) == PAGE  # the second page has not been read
        for event_id in (early, late):
            async with engine.begin() as connection:
                await update_event(connection, event_id, EventEdit(title="changed"))
        sent = [*first, *await until_snapshot_complete(stream)]
        async with asyncio.timeout(20):
            while not all(titles(sent, event_id)[-1] == "changed" for event_id in (early, late)):
                changed = await anext(stream)
                assert changed is not None
                sent += changed
    for event in sent:
        revisions.setdefault(event.event_id, []).append(event.revision)
    assert all(seen == sorted(set(seen)) for seen in revisions.values())


def titles(sent: list[Event], event_id: int) -> list[str]:
    return [event.title for event in sent if event.event_id == event_id]


async def test_a_watch_without_its_connection_is_interrupted(engine: AsyncEngine) -> None:
    with pytest.raises(WatchInterrupted):
        await anext(EventWatch(engine).subscribe())


async def test_an_announcement_that_cannot_be_read_interrupts_watches_and_ends_nothing(
    engine: AsyncEngine, add_event: AddEvent
) -> None:
    event = await add_event()
    async with running_watch(engine) as events:
        stream = events.subscribe()
        await until_snapshot_complete(stream)
        async with engine.begin() as connection:
            await connection.execute(text("SELECT pg_notify('event_changes', 'not an id')"))
        async with asyncio.timeout(20):
            with pytest.raises(WatchInterrupted):
                await anext(stream)
        again = events.subscribe()
        await until_snapshot_complete(again)
        await rate(engine, event.event_id)
        async with asyncio.timeout(20):
            assert await anext(again) is not None


async def test_a_change_that_cannot_be_read_interrupts_watches_so_that_none_misses_it(
    engine: AsyncEngine, add_event: AddEvent, monkeypatch: pytest.MonkeyPatch
) -> None:
    event = await add_event()

    async def fail(*_: object) -> Never:
        raise OperationalError("SELECT", {}, OSError("connection reset"))

    async with running_watch(engine) as events:
        stream = events.subscribe()
        await until_snapshot_complete(stream)
        with monkeypatch.context() as patch:
            patch.setattr(watch_module, "get_events", fail)
            await rate(engine, event.event_id)
            async with asyncio.timeout(20):
                with pytest.raises(WatchInterrupted):
                    await anext(stream)
        snapshot = await until_snapshot_complete(events.subscribe())
    assert [each.totals.count for each in snapshot] == [1]
