"""A server whose background task ends by itself stops, instead of serving what is out of date."""

import asyncio
from collections.abc import Awaitable, Callable
from decimal import Decimal
from typing import Any

import grpc
import pytest
from sqlalchemy.ext.asyncio import AsyncEngine
from structlog.testing import capture_logs

from line_provider.events import watch
from line_provider.events.domain import Event
from line_provider.grpc_server import server as server_module
from line_provider.grpc_server.server import BackgroundTaskFailed, LineProviderServer
from scoreline.line_provider.v1 import events_pb2, events_pb2_grpc

AddEvent = Callable[..., Awaitable[Event]]


async def raises(*_: object, **__: object) -> None:
    raise RuntimeError("injected")


async def returns(*_: object, **__: object) -> None:
    return


async def is_cancelled(*_: object, **__: object) -> None:
    raise asyncio.CancelledError


@pytest.mark.parametrize(
    ("module", "function", "replacement", "task", "reason"),
    [
        (server_module, "refresh_statuses", raises, "database-health", "RuntimeError('injected')"),
        (server_module, "refresh_statuses", is_cancelled, "database-health", "CancelledError()"),
        (watch, "listen", raises, "announcements", "RuntimeError('injected')"),
        (watch, "listen", returns, "announcements", "it returned"),
    ],
)
async def test_a_background_task_that_ends_stops_the_server_with_one_line_that_names_it(
    engine: AsyncEngine,
    monkeypatch: pytest.MonkeyPatch,
    module: Any,
    function: str,
    replacement: Callable[..., Awaitable[None]],
    task: str,
    reason: str,
) -> None:
    monkeypatch.setattr(module, function, replacement)
    with capture_logs() as logs, pytest.raises(BackgroundTaskFailed, match=f"^{task}$"):
        await run_for_20_seconds(engine)
    assert [(line["task"], line["error"]) for line in logs if line["event"] == "background_task_ended"] == [
        (task, reason)
    ]


async def test_a_change_that_cannot_be_published_ends_the_watches_and_the_server(
    engine: AsyncEngine, add_event: AddEvent, monkeypatch: pytest.MonkeyPatch
) -> None:
    await add_event()
    server = server_on(engine)
    port = server.listen("127.0.0.1:0")
    running = asyncio.create_task(server.run(asyncio.Event(), grace=1))
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        call = events_pb2_grpc.EventServiceStub(channel).WatchEvents(events_pb2.WatchEventsRequest())
        snapshot = [await call.read() for _ in range(2)]
        assert isinstance(snapshot[1], events_pb2.WatchEventsResponse)
        assert snapshot[1].HasField("snapshot_complete")
        monkeypatch.setattr(watch, "get_events", raises)
        await add_event()
        async with asyncio.timeout(20):
            with pytest.raises(grpc.aio.AioRpcError) as ended:
                await call.read()
            assert ended.value.code() is grpc.StatusCode.UNAVAILABLE
            with pytest.raises(BackgroundTaskFailed, match=r"^published-changes$"):
                await running


def server_on(engine: AsyncEngine) -> LineProviderServer:
    return LineProviderServer(engine, admin_tokens=[], worker_tokens=[], high_score_from=Decimal(3))


async def run_for_20_seconds(engine: AsyncEngine) -> None:
    async with asyncio.timeout(20):
        await server_on(engine).run(asyncio.Event(), grace=0)
