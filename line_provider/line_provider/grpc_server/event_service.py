"""EventService: reads, changes, imports and the watch of events, as the contract promises them."""
# ruff: noqa: N802 - the methods have the contract's names

import asyncio
from collections.abc import AsyncIterator, Iterable, Iterator
from typing import Any

import grpc
from sqlalchemy.ext.asyncio import AsyncEngine

from line_provider.events.changes import cancel_event, create_event, create_missing_events, update_event
from line_provider.events.domain import Event, Invalid, check_event_id
from line_provider.events.queries import get_event, list_events, position_of
from line_provider.events.watch import EventWatch
from line_provider.grpc_server.page_tokens import page_token, position_after
from line_provider.grpc_server.translate import (
    bad_row_message,
    draft_of,
    edit_of,
    event_message,
    filter_of,
    import_format_of,
    import_options_of,
    order_of,
    page_size_of,
)
from line_provider.importing.importer import read_file
from line_provider.importing.rows import UnreadableFile
from scoreline.line_provider.v1 import events_pb2, events_pb2_grpc
from scoreline_common.database import autocommit

Context = grpc.aio.ServicerContext[Any, Any]

# gRPC clients accept messages of 4 MiB by default: events with long descriptions are split over several messages.
LARGEST_MESSAGE_BYTES = 3 * 1024 * 1024
# While a client parses a message, its event loop does nothing else.
LARGEST_BATCH = 100

LARGEST_FILE_BYTES = 1024 * 1024
MOST_BAD_ROWS = 1_000


class EventService(events_pb2_grpc.EventServiceServicer):
    def __init__(self, engine: AsyncEngine, watch: EventWatch) -> None:
        self._engine = engine
        self._watch = watch

    async def GetEvents(self, request: events_pb2.GetEventsRequest, _context: Context) -> events_pb2.GetEventsResponse:
        which, order, size = filter_of(request), order_of(request), page_size_of(request)
        after = position_after(request.page_token, which, order)
        async with autocommit(self._engine) as connection:
            found = await list_events(connection, which, order, limit=size + 1, after=after)
        response = events_pb2.GetEventsResponse(events=next(_batches(found[:size], at_most=size), []))
        sent = len(response.events)
        if sent < len(found):
            response.next_page_token = page_token(which, order, position_of(found[sent - 1], order))
        return response

    async def GetEvent(self, request: events_pb2.GetEventRequest, _context: Context) -> events_pb2.GetEventResponse:
        event_id = check_event_id(request.event_id)
        async with autocommit(self._engine) as connection:
            event = await get_event(connection, event_id)
        return events_pb2.GetEventResponse(event=event_message(event))

    async def CreateEvent(
        self, request: events_pb2.CreateEventRequest, _context: Context
    ) -> events_pb2.CreateEventResponse:
        draft = draft_of(request)
        async with self._engine.begin() as connection:
            event = await create_event(connection, draft)
        return events_pb2.CreateEventResponse(event=event_message(event))

    async def UpdateEvent(
        self, request: events_pb2.UpdateEventRequest, _context: Context
    ) -> events_pb2.UpdateEventResponse:
        event_id, edit = check_event_id(request.event_id), edit_of(request)
        async with self._engine.begin() as connection:
            event = await update_event(connection, event_id, edit)
        return events_pb2.UpdateEventResponse(event=event_message(event))

    async def CancelEvent(
        self, request: events_pb2.CancelEventRequest, _context: Context
    ) -> events_pb2.CancelEventResponse:
        event_id = check_event_id(request.event_id)
        async with self._engine.begin() as connection:
            event = await cancel_event(connection, event_id)
        return events_pb2.CancelEventResponse(event=event_message(event))

    async def ImportEvents(
        self, request: events_pb2.ImportEventsRequest, _context: Context
    ) -> events_pb2.ImportEventsResponse:
        file_format, options = import_format_of(request), import_options_of(request)
        if len(request.content) > LARGEST_FILE_BYTES:
            raise Invalid("content", f"must be at most {LARGEST_FILE_BYTES:,} bytes, not {len(request.content):,}")
        try:
            # In a thread, because thousands of rows would keep other calls waiting.
            file = await asyncio.to_thread(read_file, request.content, file_format, options)
        except UnreadableFile as error:
            raise Invalid("content", str(error)) from None
        async with self._engine.begin() as connection:
            created = await create_missing_events(connection, file.drafts)
        return events_pb2.ImportEventsResponse(
            created_event_ids=[event.event_id for event in created],
            existing_count=len(file.drafts) - len(created),
            bad_row_count=len(file.bad_rows),
            bad_rows=[bad_row_message(bad) for bad in file.bad_rows[:MOST_BAD_ROWS]],
        )

    async def WatchEvents(
        self, request: events_pb2.WatchEventsRequest, _context: Context
    ) -> AsyncIterator[events_pb2.WatchEventsResponse]:
        async for events in self._watch.subscribe():
            if events is None:
                yield events_pb2.WatchEventsResponse(snapshot_complete=events_pb2.SnapshotComplete())
            elif request.in_batches:
                for batch in _batches(events, at_most=LARGEST_BATCH):
                    yield events_pb2.WatchEventsResponse(batch=events_pb2.EventBatch(events=batch))
            else:
                for event in events:
                    yield events_pb2.WatchEventsResponse(event=event_message(event))


def _batches(events: Iterable[Event], *, at_most: int) -> Iterator[list[events_pb2.Event]]:
    """Yields batches of up to `at_most` events that each fit into one message."""
    batch: list[events_pb2.Event] = []
    room = LARGEST_MESSAGE_BYTES
    for message in map(event_message, events):
        size = message.ByteSize()
        if batch and (size > room or len(batch) == at_most):
            yield batch
            batch, room = [], LARGEST_MESSAGE_BYTES
        batch.append(message)
        room -= size
    if batch:
        yield batch
