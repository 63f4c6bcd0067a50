"""An EventService on a real gRPC server, whose events and outages the tests choose."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from scoreline.line_provider.v1 import events_pb2, events_pb2_grpc


def event(event_id: int, **fields: Any) -> events_pb2.Event:
    """An event that is open for an hour, with these fields otherwise; times are given as datetime."""
    now = datetime.now(UTC)
    times = {
        "starts_at": now - timedelta(hours=1),
        "deadline": now + timedelta(hours=1),
        "created_at": now - timedelta(days=1),
    } | {name: fields.pop(name) for name in list(fields) if isinstance(fields[name], datetime)}
    named: dict[str, Any] = {
        "title": f"Event {event_id}",
        "status": events_pb2.EVENT_STATUS_PROCESSING,
        "totals": events_pb2.ScoreTotals(histogram=[0] * 5),
        "revision": 1,
    }
    named |= fields
    message = events_pb2.Event(event_id=event_id, **named)
    for name, moment in times.items():
        getattr(message, name).FromDatetime(moment)
    return message


class ScriptedLineProvider(events_pb2_grpc.EventServiceServicer):
    """Watchers get what `put` was given, and are counted; events in `unannounced` are found only by asking for them."""

    def __init__(self) -> None:
        self.events: dict[int, events_pb2.Event] = {}
        self.unannounced: dict[int, events_pb2.Event] = {}
        self.watches = 0
        self._watchers: set[asyncio.Queue[events_pb2.Event]] = set()
        self._server: grpc.aio.Server | None = None
        self._health = health.aio.HealthServicer()
        self.address = "127.0.0.1:0"

    async def start(self) -> None:
        self._server = grpc.aio.server()
        events_pb2_grpc.add_EventServiceServicer_to_server(self, self._server)
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        self.address = f"127.0.0.1:{self._server.add_insecure_port(self.address)}"
        await self._server.start()

    async def stop(self) -> None:
        """Goes away; the next `start` is at the same address."""
        if self._server is not None:
            await self._server.stop(grace=None)
            self._server = None

    async def set_health(self, *, serving: bool) -> None:
        """What it says of itself: at first that it serves."""
        status = health_pb2.HealthCheckResponse.SERVING if serving else health_pb2.HealthCheckResponse.NOT_SERVING
        await self._health.set(health.OVERALL_HEALTH, status)

    def put(self, *events: events_pb2.Event) -> None:
        for each in events:
            self.events[each.event_id] = each
            for watcher in self._watchers:
                watcher.put_nowait(each)

    async def GetEvent(  # noqa: N802 - the contract's name
        self, request: events_pb2.GetEventRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> events_pb2.GetEventResponse:
        found = (self.events | self.unannounced).get(request.event_id)
        if found is None:
            await context.abort(grpc.StatusCode.NOT_FOUND, "no such event")
        return events_pb2.GetEventResponse(event=found)

    async def WatchEvents(  # noqa: N802
        self, _request: events_pb2.WatchEventsRequest, _context: grpc.aio.ServicerContext[Any, Any]
    ) -> AsyncIterator[events_pb2.WatchEventsResponse]:
        changes: asyncio.Queue[events_pb2.Event] = asyncio.Queue()
        self._watchers.add(changes)
        self.watches += 1
        try:
            for each in list(self.events.values()):
                yield events_pb2.WatchEventsResponse(event=each)
            yield events_pb2.WatchEventsResponse(snapshot_complete=events_pb2.SnapshotComplete())
            while True:
                yield events_pb2.WatchEventsResponse(event=await changes.get())
        finally:
            self._watchers.discard(changes)
