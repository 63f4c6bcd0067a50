"""GET /events/stream: what changes, as server-sent events."""

from collections.abc import AsyncIterator
from datetime import timedelta

from score_maker import metrics
from score_maker.events.broadcast import EventChanges
from score_maker.events.catalog import EventCatalog, EventChange
from score_maker.http.events.documents import EventDocuments

HEARTBEAT = b": heartbeat\n\n"
# At most so many events are on their way to a listener who does not read.
MOST_AT_ONCE = 100


class EventStream:
    """Makes the bytes that all listeners of a process are sent. It does not itself turn away those who come when it
    `is_full`."""

    def __init__(
        self,
        catalog: EventCatalog,
        changes: EventChanges,
        documents: EventDocuments,
        *,
        heartbeat: timedelta,
        max_listeners: int,
    ) -> None:
        self._catalog = catalog
        self._changes = changes
        self._documents = documents
        self._heartbeat_seconds = heartbeat.total_seconds()
        self._max_listeners = max_listeners
        self._listeners = 0
        self._last: tuple[list[EventChange], bytes] = ([], b"")

    @property
    def is_full(self) -> bool:
        return self._listeners >= self._max_listeners

    async def listen(self, token: str | None) -> AsyncIterator[bytes]:
        """What has changed after the position that the token stands for, or without one from now on; then what
        changes, until the service ends."""
        self._listeners += 1
        try:
            with metrics.STREAM_LISTENERS.track_inprogress():
                async for frames in self._listen(token):
                    yield frames
        finally:
            self._listeners -= 1

    async def _listen(self, token: str | None) -> AsyncIterator[bytes]:
        position = self._catalog.position if token is None else self._changes.position(token)
        # Before any event is known there is no list that a reset could send to.
        while not self._catalog.is_known and not self._changes.is_closed:
            yield HEARTBEAT
            await self._changes.wait(self._catalog.position, self._heartbeat_seconds)
        while not self._changes.is_closed:
            if position is None or not self._catalog.knows_position(position):
                position = self._catalog.position
                yield b"event: reset\nid: %b\ndata: {}\n\n" % self._changes.token(position).encode()
            elif changes := self._changes.after(position, limit=MOST_AT_ONCE):
                position = changes[-1].position
                yield self._frames(changes)
            elif not await self._changes.wait(position, self._heartbeat_seconds):
                yield HEARTBEAT

    def _frames(self, changes: list[EventChange]) -> bytes:
        """Listeners who keep up are all told of the same changes, so their bytes are made once."""
        if changes != self._last[0]:
            self._last = changes, b"".join(map(self._frame, changes))
        return self._last[1]

    def _frame(self, change: EventChange) -> bytes:
        position = self._changes.token(change.position).encode()
        document = self._documents.of(change.listed.event, change.listed.phase)
        return b"event: event\nid: %b\ndata: %b\n\n" % (position, document)
