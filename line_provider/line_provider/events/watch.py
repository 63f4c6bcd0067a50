"""The watch of events: a snapshot, then every change, and no gap between the two.

Each transaction that changes an event announces its id when it commits. One LISTEN connection per process receives
the ids, and one task reads the latest state of those events and offers it to every subscriber. A subscriber is
registered before its snapshot is read, so a change is either in the snapshot or offered afterwards. While the
connection is lost, announcements are lost with it: every subscriber is interrupted, and gets a new snapshot when it
watches again.
"""

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator, Iterable
from contextlib import suppress
from typing import Never

import structlog
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine

from line_provider.events.domain import Event
from line_provider.events.queries import get_events, list_events_by_id
from line_provider.storage.channels import EVENT_CHANGES
from scoreline_common.database import autocommit
from scoreline_common.listen import listen

log = structlog.get_logger(__name__)

# A change is published at once; changes that follow within this time are read together. So an event costs a few reads
# a second, however many ratings it gets.
COALESCING_SECONDS = 0.05
PAGE = 500
# Long enough to outlast one reconnection of the LISTEN connection.
CONNECTION_WAIT_SECONDS = 2


class WatchInterrupted(Exception):
    """Changes may have been missed: the caller must watch again, which starts with a new snapshot."""


class _Subscription:
    """What one subscriber has not been sent yet: only the latest state of each changed event. So however slow the
    subscriber is, this never holds more entries than there are events."""

    def __init__(self) -> None:
        self._pending: OrderedDict[int, Event] = OrderedDict()
        self._sent_revisions: dict[int, int] = {}
        self._wake = asyncio.Event()
        self._interrupted = False

    def offer(self, event: Event) -> None:
        self._pending[event.event_id] = event
        self._wake.set()

    def interrupt(self) -> None:
        self._interrupted = True
        self._wake.set()

    def take_unsent(self, events: Iterable[Event]) -> list[Event]:
        """Returns those events that were not sent in this state or a later one, and records them as sent."""
        unsent = [event for event in events if event.revision > self._sent_revisions.get(event.event_id, 0)]
        self._sent_revisions.update((event.event_id, event.revision) for event in unsent)
        return unsent

    async def changes(self) -> AsyncIterator[list[Event]]:
        """Yields up to PAGE changed events at a time. Raises WatchInterrupted."""
        while True:
            await self._wake.wait()
            if self._interrupted:
                raise WatchInterrupted
            if not self._pending:
                self._wake.clear()
                continue
            pending = [self._pending.popitem(last=False)[1] for _ in range(min(len(self._pending), PAGE))]
            if unsent := self.take_unsent(pending):
                yield unsent


class EventWatch:
    """Sends every change to any number of subscribers, as long as both `receive_announcements` and `publish_changes`
    run. Both run until cancelled; if one raises, the process must end, because subscribers would miss changes."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine
        self._subscriptions: set[_Subscription] = set()
        self._listening = asyncio.Event()
        self._announced_ids: set[int] = set()
        self._wake = asyncio.Event()

    async def subscribe(self) -> AsyncIterator[list[Event] | None]:
        """Yields every event, then None, then each event anew when it changes; up to PAGE events at a time.

        Raises WatchInterrupted, at once if the LISTEN connection is not up within CONNECTION_WAIT_SECONDS.
        """
        with suppress(TimeoutError):
            async with asyncio.timeout(CONNECTION_WAIT_SECONDS):
                await self._listening.wait()
        if not self._listening.is_set():
            raise WatchInterrupted
        subscription = _Subscription()
        self._subscriptions.add(subscription)
        try:
            async for page in self._snapshot():
                if unsent := subscription.take_unsent(page):
                    yield unsent
            yield None
            async for changed in subscription.changes():
                yield changed
        finally:
            self._subscriptions.discard(subscription)

    async def _snapshot(self) -> AsyncIterator[list[Event]]:
        """Yields every event, read page by page so that no transaction stays open for a slow subscriber."""
        last_id = 0
        while True:
            async with autocommit(self._engine) as connection:
                page = await list_events_by_id(connection, limit=PAGE, after=last_id)
            yield page
            if len(page) < PAGE:
                return
            last_id = page[-1].event_id

    async def receive_announcements(self) -> Never:
        """Receives the ids of changed events until cancelled; reconnects whenever the connection is lost."""
        await listen(
            self._engine.url.render_as_string(hide_password=False),
            EVENT_CHANGES,
            on_notification=self._on_announcement,
            on_connected=self._listening.set,
            on_lost=self._on_connection_lost,
        )

    def _on_announcement(self, payload: str) -> None:
        try:
            self._announced_ids.add(int(payload))
        except ValueError:
            # Any role of this database can notify the channel, and the announcement may have been meant for a change.
            # An exception would reach nothing but the event loop's handler.
            log.error("announcement_unreadable", channel=EVENT_CHANGES, payload=payload)  # noqa: TRY400
            self._interrupt_all()
        else:
            self._wake.set()

    def _on_connection_lost(self) -> None:
        self._listening.clear()
        self._interrupt_all()

    def _interrupt_all(self) -> None:
        for subscription in self._subscriptions:
            subscription.interrupt()

    async def publish_changes(self) -> Never:
        """Reads the announced events and offers them to the subscribers, until cancelled.

        If the database cannot be read, subscribers are interrupted, so that they miss nothing: the next snapshot has
        the changes that could not be read.
        """
        while True:
            await self._wake.wait()
            self._wake.clear()
            try:
                await self._offer_announced()
            except (SQLAlchemyError, OSError, TimeoutError) as error:
                log.warning("changed_events_unreadable", error=str(error) or type(error).__name__)
                self._interrupt_all()
            await asyncio.sleep(COALESCING_SECONDS)

    async def _offer_announced(self) -> None:
        changed_ids = sorted(self._announced_ids)
        self._announced_ids.clear()
        if not self._subscriptions:
            return
        for start in range(0, len(changed_ids), PAGE):
            async with autocommit(self._engine) as connection:
                latest = await get_events(connection, changed_ids[start : start + PAGE])
            for event in latest:
                for subscription in self._subscriptions:
                    subscription.offer(event)
