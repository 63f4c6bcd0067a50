"""An EventService on a real gRPC server, with the events and outages that the tests choose."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from scoreline.line_provider.v1 import events_pb2, events_pb2_grpc

Context = grpc.aio.ServicerContext[Any, Any]


def event(event_id: int, **fields: Any) -> events_pb2.Event:
    """An event that is open for an hour, with these fields changed. Times are given as datetime."""
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
    """Sends events given to `put` to its watchers, and counts these in `watches`. Only GetEvent finds `unannounced`.

    Calls with `admin_token` change the events by the contract's rules, or fail with `refusal` (a code and details) if
    that is set. Without `knows_batches`, the service behaves like an older version of the contract.
    """

    admin_token = "a-token-of-line-provider"

    def __init__(self) -> None:
        self.events: dict[int, events_pb2.Event] = {}
        self.unannounced: dict[int, events_pb2.Event] = {}
        self.refusal: tuple[grpc.StatusCode, str] | None = None
        self.imported: list[events_pb2.ImportEventsRequest] = []
        self.watches = 0
        self.knows_batches = True
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
        """Stops serving. The next `start` listens on the same address."""
        if self._server is not None:
            await self._server.stop(grace=None)
            self._server = None

    async def set_health(self, *, serving: bool) -> None:
        """Sets the health that the server reports, which is SERVING at first."""
        status = health_pb2.HealthCheckResponse.SERVING if serving else health_pb2.HealthCheckResponse.NOT_SERVING
        await self._health.set(health.OVERALL_HEALTH, status)

    def put(self, *events: events_pb2.Event) -> None:
        for each in events:
            self.events[each.event_id] = each
            for watcher in self._watchers:
                watcher.put_nowait(each)

    async def GetEvent(  # noqa: N802 - the contract's name
        self, request: events_pb2.GetEventRequest, context: Context
    ) -> events_pb2.GetEventResponse:
        found = (self.events | self.unannounced).get(request.event_id)
        if found is None:
            await context.abort(grpc.StatusCode.NOT_FOUND, "no such event")
        return events_pb2.GetEventResponse(event=found)

    async def CreateEvent(  # noqa: N802
        self, request: events_pb2.CreateEventRequest, context: Context
    ) -> events_pb2.CreateEventResponse:
        await self._admit(context)
        if request.external_id and any(each.external_id == request.external_id for each in self.events.values()):
            await context.abort(
                grpc.StatusCode.ALREADY_EXISTS, f"there is an event with {request.external_id!r} already"
            )
        created = events_pb2.Event(
            event_id=max(self.events, default=0) + 1,
            title=request.title,
            description=request.description,
            starts_at=request.starts_at,
            deadline=request.deadline,
            external_id=request.external_id,
            status=events_pb2.EVENT_STATUS_PROCESSING,
            totals=events_pb2.ScoreTotals(histogram=[0] * 5),
            revision=1,
        )
        self.put(await self._checked(created, context))
        return events_pb2.CreateEventResponse(event=created)

    async def UpdateEvent(  # noqa: N802
        self, request: events_pb2.UpdateEventRequest, context: Context
    ) -> events_pb2.UpdateEventResponse:
        await self._admit(context)
        updated = await self._changeable(request.event_id, context)
        if not request.update_mask.paths:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "update_mask: must name at least one field")
        for name in request.update_mask.paths:
            updated.ClearField(name)  # type: ignore[arg-type]
            updated.MergeFrom(events_pb2.Event(**{name: getattr(request, name)}))
        self.put(await self._checked(updated, context))
        return events_pb2.UpdateEventResponse(event=updated)

    async def CancelEvent(  # noqa: N802
        self, request: events_pb2.CancelEventRequest, context: Context
    ) -> events_pb2.CancelEventResponse:
        await self._admit(context)
        cancelled = await self._changeable(request.event_id, context)
        cancelled.cancelled_at.GetCurrentTime()
        self.put(cancelled)
        return events_pb2.CancelEventResponse(event=cancelled)

    async def ImportEvents(  # noqa: N802
        self, request: events_pb2.ImportEventsRequest, context: Context
    ) -> events_pb2.ImportEventsResponse:
        """Reports one new, one existing and one invalid row, whatever the file."""
        await self._admit(context)
        self.imported.append(request)
        bad = events_pb2.BadRow(place="line 4", reason="title: is missing")
        return events_pb2.ImportEventsResponse(
            created_event_ids=[17], existing_count=1, bad_row_count=1, bad_rows=[bad]
        )

    async def _admit(self, context: Context) -> None:
        if ("authorization", f"Bearer {self.admin_token}") not in (context.invocation_metadata() or ()):
            await context.abort(grpc.StatusCode.UNAUTHENTICATED, "this method needs its own token")
        if self.refusal is not None:
            await context.abort(*self.refusal)

    async def _changeable(self, event_id: int, context: Context) -> events_pb2.Event:
        """Returns a copy of the event with the next revision. Aborts the call if the event cannot be changed."""
        if event_id not in self.events:
            await context.abort(grpc.StatusCode.NOT_FOUND, f"event {event_id} does not exist")
        found = self.events[event_id]
        if found.HasField("cancelled_at"):
            await context.abort(
                grpc.StatusCode.FAILED_PRECONDITION, f"event {event_id} is cancelled and cannot be changed any more"
            )
        changed = events_pb2.Event()
        changed.CopyFrom(found)
        changed.revision += 1
        return changed

    async def _checked(self, message: events_pb2.Event, context: Context) -> events_pb2.Event:
        if message.deadline.ToDatetime() < message.starts_at.ToDatetime():
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "deadline: must not be before starts_at")
        return message

    async def WatchEvents(  # noqa: N802
        self, request: events_pb2.WatchEventsRequest, _context: Context
    ) -> AsyncIterator[events_pb2.WatchEventsResponse]:
        changes: asyncio.Queue[events_pb2.Event] = asyncio.Queue()
        self._watchers.add(changes)
        self.watches += 1
        try:
            if request.in_batches and self.knows_batches:
                yield events_pb2.WatchEventsResponse(batch=events_pb2.EventBatch(events=self.events.values()))
            else:
                for each in list(self.events.values()):
                    yield events_pb2.WatchEventsResponse(event=each)
            yield events_pb2.WatchEventsResponse(snapshot_complete=events_pb2.SnapshotComplete())
            while True:
                yield events_pb2.WatchEventsResponse(event=await changes.get())
        finally:
            self._watchers.discard(changes)
