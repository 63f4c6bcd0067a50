"""GET /events/stream: a subscriber misses no change, however late, often or slowly it listens."""

import asyncio
import resource
import signal
import sys
from collections.abc import Iterator
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from httpx import AsyncClient, TransportError

from devstack.addresses import Address
from devstack.processes import Process
from score_maker.events.broadcast import EventBroadcast
from score_maker.events.catalog import EventCatalog
from score_maker.events.translate import event_of
from score_maker.http.events.documents import EventDocuments, EventResource
from score_maker.http.events.stream import EventStream
from score_maker.settings import Settings
from tests.support.listening import listening
from tests.support.scripted_line_provider import ScriptedLineProvider, event
from tests.support.serving import serving


async def position(api: AsyncClient) -> str:
    return str((await api.get("/events")).json()["stream_position"])


async def until_revision(api: AsyncClient, event_id: int, title: str) -> None:
    async with asyncio.timeout(20):
        while (await api.get(f"/events/{event_id}")).json().get("title") != title:
            await asyncio.sleep(0.01)


async def test_a_subscriber_receives_a_change_in_the_form_in_which_the_list_shows_it(
    api: AsyncClient, line_provider: ScriptedLineProvider
) -> None:
    async with listening(api, await position(api)) as listener:
        line_provider.put(event(2, revision=2, title="Moved"))
        message = await listener.next()
    EventResource.model_validate(message.data, extra="forbid")
    assert (message.name, message.data["title"]) == ("event", "Moved")
    listed = {each["event_id"]: each for each in (await api.get("/events")).json()["events"]}
    del listed[2]["my_score"]
    assert message.data == listed[2]


async def test_a_returning_subscriber_receives_the_latest_state_of_each_event_that_changed(
    api: AsyncClient, line_provider: ScriptedLineProvider
) -> None:
    async with listening(api, await position(api)) as listener:
        line_provider.put(event(1, revision=2, title="Seen"))
        seen = await listener.next()
    for revision in range(3, 50):
        line_provider.put(event(1, revision=revision, title=f"Event 1 ({revision})"))
    line_provider.put(event(3, revision=2, title="Meanwhile"))
    await until_revision(api, 3, "Meanwhile")

    async with listening(api, last_event_id=seen.id) as listener:
        first, second = await listener.next(), await listener.next()
        line_provider.put(event(2, revision=2, title="Afterwards"))
        third = await listener.next()
    assert [each.data["title"] for each in (first, second, third)] == ["Event 1 (49)", "Meanwhile", "Afterwards"]


async def test_last_event_id_takes_precedence_over_the_position_in_the_query(
    api: AsyncClient, line_provider: ScriptedLineProvider
) -> None:
    beginning = await position(api)
    async with listening(api, beginning) as listener:
        line_provider.put(event(1, revision=2))
        seen = await listener.next()
    line_provider.put(event(2, revision=2, title="Next"))
    async with listening(api, beginning, last_event_id=seen.id) as listener:
        assert (await listener.next()).data["title"] == "Next"


async def test_without_a_position_the_stream_starts_with_the_next_change(
    api: AsyncClient, line_provider: ScriptedLineProvider
) -> None:
    async with listening(api) as listener:
        line_provider.put(event(2, revision=2, title="New"))
        assert (await listener.next()).data["title"] == "New"


@pytest.mark.parametrize("unknown", ["", "nonsense", "5f0c9a1e-3", "{epoch}-999999", "{epoch}--1", "{epoch}-²"])
async def test_an_unknown_position_is_answered_with_a_reset_and_then_the_changes(
    api: AsyncClient, line_provider: ScriptedLineProvider, unknown: str
) -> None:
    epoch = (await position(api)).partition("-")[0]
    async with listening(api, unknown.format(epoch=epoch) or "-") as listener:
        reset = await listener.next()
        assert (reset.name, reset.data) == ("reset", {})
        line_provider.put(event(2, revision=2, title="New"))
        assert (await listener.next()).data["title"] == "New"
    async with listening(api, last_event_id=reset.id) as listener:
        assert (await listener.next()).data["title"] == "New"


async def test_a_restart_of_the_service_resets_the_stream(
    settings: Settings, line_provider: ScriptedLineProvider
) -> None:
    line_provider.put(event(1))
    async with serving(settings) as api:
        before = await position(api)
    async with serving(settings) as api, listening(api, before) as listener:
        assert (await listener.next()).name == "reset"


async def test_a_stream_opened_before_any_events_are_known_receives_them_once_they_are(
    settings: Settings, line_provider: ScriptedLineProvider
) -> None:
    line_provider.put(event(1), event(2))
    await line_provider.stop()
    async with serving(settings) as api, listening(api) as fresh, listening(api, "5f0c9a1e-3") as returning:
        await fresh.next_heartbeat()
        await returning.next_heartbeat()
        await line_provider.start()
        assert (await returning.next()).name == "reset"
        assert {(await fresh.next()).data["event_id"] for _ in range(2)} == {1, 2}


async def test_only_changed_events_are_sent_after_line_provider_was_unreachable(
    api: AsyncClient, line_provider: ScriptedLineProvider
) -> None:
    async with listening(api, await position(api)) as listener:
        await line_provider.stop()
        line_provider.put(event(2, revision=2, title="Changed while it was away"))
        await line_provider.start()
        line_provider.put(event(3, revision=2, title="Changed afterwards"))
        titles = [(await listener.next()).data["title"] for _ in range(2)]
    assert titles == ["Changed while it was away", "Changed afterwards"]


async def test_removing_an_event_resets_the_stream_of_every_subscriber(
    api: AsyncClient, line_provider: ScriptedLineProvider
) -> None:
    before = await position(api)
    async with listening(api, before) as listener:
        await line_provider.stop()
        del line_provider.events[3]
        await line_provider.start()
        assert (await listener.next()).name == "reset"
    listing = (await api.get("/events")).json()
    assert 3 not in {each["event_id"] for each in listing["events"]}
    async with listening(api, listing["stream_position"]) as listener:
        line_provider.put(event(2, revision=2))
        assert (await listener.next()).name == "event"


async def test_a_passing_deadline_is_sent_without_a_message_from_line_provider(
    api: AsyncClient, line_provider: ScriptedLineProvider
) -> None:
    deadline = datetime.now(UTC) + timedelta(seconds=0.5)
    async with listening(api, await position(api)) as listener:
        line_provider.put(event(1, revision=2, deadline=deadline))
        phases = [(await listener.next_of(1)).data["phase"] for _ in range(2)]
    assert phases == ["open", "closed"]
    assert datetime.now(UTC) > deadline


async def test_a_slow_reader_receives_only_the_latest_state_of_each_event() -> None:
    catalog = EventCatalog()
    catalog.replace_all(event_of(event(event_id)) for event_id in (1, 2, 3))
    changes = EventBroadcast(catalog)
    stream = EventStream(catalog, changes, EventDocuments(), heartbeat=timedelta(minutes=1), max_subscribers=1)
    broadcasting = asyncio.create_task(changes.run())
    slow = stream.subscribe(changes.token(catalog.position))
    catalog.put(event_of(event(1, revision=2)))
    assert b"event: event" in await anext(slow)
    for revision in range(3, 2000):
        catalog.put(event_of(event(1 + revision % 2, revision=revision, title=f"At {revision}.")))
    await changes.wait(catalog.position - 1, 30)
    received = await anext(slow)
    assert received.count(b"event: event") == 2
    assert b"At 1998." in received
    assert b"At 1999." in received
    changes.close()
    assert [chunk async for chunk in slow] == []
    broadcasting.cancel()
    await asyncio.wait({broadcasting})


async def test_a_subscriber_beyond_the_limit_is_refused_until_another_one_leaves(
    settings: Settings, line_provider: ScriptedLineProvider
) -> None:
    line_provider.put(event(1))
    few = settings.model_copy(update={"max_listeners": 2, "stream_heartbeat": timedelta(milliseconds=20)})
    async with serving(few) as api, listening(api) as first:
        async with listening(api) as second:
            await first.next_heartbeat()
            await second.next_heartbeat()
            refused = await api.get("/events/stream")
            assert (refused.status_code, refused.json()["type"]) == (503, "/problems/too-many-listeners")
            assert int(refused.headers["Retry-After"]) > 0
            assert (await api.get("/events")).status_code == 200
        async with asyncio.timeout(30):
            while "scoreline_stream_listeners 1.0" not in (await api.get("/metrics")).text:
                await asyncio.sleep(0.01)
        async with listening(api) as third:
            await third.next_heartbeat()


async def test_an_idle_stream_carries_heartbeats(settings: Settings, line_provider: ScriptedLineProvider) -> None:
    frequent = settings.model_copy(update={"stream_heartbeat": timedelta(milliseconds=20)})
    line_provider.put(event(1))
    async with serving(frequent) as api, listening(api) as listener:
        for _ in range(3):
            await listener.next_heartbeat()
        line_provider.put(event(1, revision=2, title="Not silent"))
        assert (await listener.next()).data["title"] == "Not silent"


async def test_a_subscriber_holds_no_database_connection(
    settings: Settings, line_provider: ScriptedLineProvider
) -> None:
    line_provider.put(event(1))
    few = settings.model_copy(update={"database_pool_size": 2})
    async with serving(few) as api, AsyncExitStack() as stack:
        token = (await api.post("/raters")).json()["token"]
        for _ in range(5):
            await stack.enter_async_context(listening(api))
        scores = await api.get("/scores", headers={"Authorization": f"Bearer {token}"}, timeout=60)
        assert (scores.status_code, scores.json()["scores"]) == (200, [])


@pytest.fixture
def _many_files() -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(max(soft, 4096), hard), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.usefixtures("_many_files")
async def test_one_watch_serves_500_subscribers(api: AsyncClient, line_provider: ScriptedLineProvider) -> None:
    connections = [await asyncio.open_connection(api.base_url.host, api.base_url.port) for _ in range(500)]
    for _, writer in connections:
        writer.write(b"GET /events/stream HTTP/1.1\r\nHost: localhost\r\n\r\n")
    async with asyncio.timeout(60):
        for reader, _ in connections:
            assert b" 200 " in await reader.readuntil(b"\r\n\r\n")
        line_provider.put(event(2, revision=2, title="For everybody"))
        for reader, _ in connections:
            await reader.readuntil(b"For everybody")
    assert line_provider.watches == 1
    for _, writer in connections:
        writer.close()


async def test_the_service_stops_at_once_on_sigterm_despite_open_streams(
    settings: Settings, line_provider: ScriptedLineProvider, tmp_path: Path
) -> None:
    line_provider.put(event(1))
    address = Address.free()
    async with AsyncClient(base_url=f"http://{address}") as client:

        async def is_ready() -> bool:
            try:
                return (await client.get("/healthz")).is_success
            except TransportError:
                return False

        environment = {"SCORE_MAKER_PORT": str(address.port), "SCORE_MAKER_SHUTDOWN_GRACE": "86400"}
        command: list[str | Path] = [Path(sys.executable).with_name("score-maker"), "serve"]
        async with Process(
            "score_maker", command, state=tmp_path, environment=lambda: environment, is_ready=is_ready
        ) as process:
            async with listening(client) as first, listening(client) as second:
                process.send_signal(signal.SIGTERM)
                await first.end()
                await second.end()
            # If the service waited for the streams to end, its grace period would last a day.
            async with asyncio.timeout(30):
                assert await process.wait() in {0, -signal.SIGTERM}
            assert "Traceback" not in process.output()
