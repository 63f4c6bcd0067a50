"""GET /events/stream: changes of events, as server-sent events."""

from collections.abc import AsyncIterator
from datetime import timedelta

from score_maker.events.broadcast import EventBroadcast
from score_maker.events.catalog import EventCatalog, EventChange
from score_maker.http import metrics
from score_maker.http.events.documents import EventDocuments

HEARTBEAT = b": heartbeat\n\n"
# At most this many events are in flight to a subscriber that does not read.
BATCH = 100


class EventStream:
    """Renders the bytes that all subscribers of a process are sent. Callers check `is_full` before they subscribe."""

    def __init__(
        self,
        catalog: EventCatalog,
        broadcast: EventBroadcast,
        documents: EventDocuments,
        *,
        heartbeat: timedelta,
        max_subscribers: int,
    ) -> None:
        self._catalog = catalog
        self._broadcast = broadcast
        self._documents = documents
        self._heartbeat_seconds = heartbeat.total_seconds()
        self._max_subscribers = max_subscribers
        self._subscribers = 0
        self._last: tuple[list[EventChange], bytes] = ([], b"")

    @property
    def is_full(self) -> bool:
        return self._subscribers >= self._max_subscribers

    async def subscribe(self, token: str | None) -> AsyncIterator[bytes]:
        """Yields what has changed since the position in the token, or from now on, until the process stops."""
        self._subscribers += 1
        try:
            with metrics.STREAM_LISTENERS.track_inprogress():
                async for frames in self._messages(token):
                    yield frames
        finally:
            self._subscribers -= 1

    async def _messages(self, token: str | None) -> AsyncIterator[bytes]:
        position = self._catalog.position if token is None else self._broadcast.position(token)
        # Before any event is known there is no list that a reset could refer the client to.
        while not self._catalog.is_known and not self._broadcast.is_closed:
            yield HEARTBEAT
            await self._broadcast.wait(self._catalog.position, self._heartbeat_seconds)
        while not self._broadcast.is_closed:
            if position is None or not self._catalog.knows_position(position):
                position = self._catalog.position
                yield b"event: reset\nid: %b\ndata: {}\n\n" % self._broadcast.token(position).encode()
            elif changes := self._broadcast.after(position, limit=BATCH):
                position = changes[-1].position
                yield self._frames(changes)
            elif not await self._broadcast.wait(position, self._heartbeat_seconds):
                yield HEARTBEAT

    def _frames(self, changes: list[EventChange]) -> bytes:
        """Subscribers that keep up all get the same changes, so their bytes are rendered once."""
        if changes != self._last[0]:
            self._last = changes, b"".join(map(self._frame, changes))
        return self._last[1]

    def _frame(self, change: EventChange) -> bytes:
        position = self._broadcast.token(change.position).encode()
        document = self._documents.of(change.listed.event, change.listed.phase)
        return b"event: event\nid: %b\ndata: %b\n\n" % (position, document)
