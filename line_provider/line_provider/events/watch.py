"""Following events: a snapshot, then every change, with nothing in between to miss.

Each transaction that changes an event announces its id at the commit. One LISTEN connection per process hears of them,
and one task reads the latest state of what was announced and offers it to every subscriber. A subscriber is registered
before its snapshot is read, so a change is in the snapshot or is offered afterwards. Once the connection is lost,
nobody knows what was announced meanwhile: every subscriber is interrupted, and comes back for a new snapshot.
"""

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator, Iterable
from contextlib import suppress
from typing import Never

import structlog
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine

from line_provider.events import queries
from line_provider.events.changes import CHANGE_CHANNEL
from line_provider.events.domain import Event
from scoreline_common.database import autocommit
from scoreline_common.listen import listen

log = structlog.get_logger(__name__)

# A change is told at once; those that follow it within this time are read together. So an event costs a few reads a
# second, however many ratings it gets.
COALESCING_SECONDS = 0.05
PAGE = 500
# Long enough for a watcher to outwait one reconnection.
PATIENCE_SECONDS = 2


class WatchInterrupted(Exception):
    """Changes may be missed from here on: ask again, for a new snapshot."""


class _Subscription:
    """What one watcher has yet to be told: the latest state of each changed event, so it never holds more than there
    are events, however slow the watcher is."""

    def __init__(self) -> None:
        self._pending: OrderedDict[int, Event] = OrderedDict()
        self._told_revisions: dict[int, int] = {}
        self._woken = asyncio.Event()
        self._interrupted = False

    def offer(self, event: Event) -> None:
        self._pending[event.event_id] = event
        self._woken.set()

    def interrupt(self) -> None:
        self._interrupted = True
        self._woken.set()

    def news(self, events: Iterable[Event]) -> list[Event]:
        """Those that the watcher has not been told in this state or a later one; from now on it has."""
        result = [event for event in events if event.revision > self._told_revisions.get(event.event_id, 0)]
        self._told_revisions.update((event.event_id, event.revision) for event in result)
        return result

    async def changes(self) -> AsyncIterator[list[Event]]:
        while True:
            await self._woken.wait()
            if self._interrupted:
                raise WatchInterrupted
            if not self._pending:
                self._woken.clear()
                continue
            pending = [self._pending.popitem(last=False)[1] for _ in range(min(len(self._pending), PAGE))]
            if news := self.news(pending):
                yield news


class EventFeed:
    """Tells any number of watchers of every change, as long as `run` runs."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine
        self._subscriptions: set[_Subscription] = set()
        self._listening = asyncio.Event()
        self._announced: set[int] = set()
        self._woken = asyncio.Event()

    async def watch(self) -> AsyncIterator[list[Event] | None]:
        """Every event, then None, then each event anew when it changes; those that are at hand together, PAGE at most.
        Raises WatchInterrupted."""
        with suppress(TimeoutError):
            async with asyncio.timeout(PATIENCE_SECONDS):
                await self._listening.wait()
        if not self._listening.is_set():
            raise WatchInterrupted
        subscription = _Subscription()
        self._subscriptions.add(subscription)
        try:
            async for page in self._snapshot():
                if news := subscription.news(page):
                    yield news
            yield None
            async for changed in subscription.changes():
                yield changed
        finally:
            self._subscriptions.discard(subscription)

    async def _snapshot(self) -> AsyncIterator[list[Event]]:
        """Every event, read page by page, so that no transaction waits for a slow watcher."""
        last_id = 0
        while True:
            async with autocommit(self._engine) as connection:
                page = await queries.list_by_id(connection, limit=PAGE, after=last_id)
            yield page
            if len(page) < PAGE:
                return
            last_id = page[-1].event_id

    async def run(self) -> Never:
        """Listens and notifies watchers until cancelled; reconnects whenever the connection is lost."""
        async with asyncio.TaskGroup() as group:
            group.create_task(
                listen(
                    self._engine.url.render_as_string(hide_password=False),
                    CHANGE_CHANNEL,
                    on_notification=self._on_change,
                    on_connected=self._listening.set,
                    on_lost=self._interrupt_all,
                ),
                name="event-changes",
            )
            group.create_task(self._keep_telling(), name="event-watchers")
        raise AssertionError("its tasks never end")

    def _on_change(self, payload: str) -> None:
        self._announced.add(int(payload))
        self._woken.set()

    def _interrupt_all(self) -> None:
        """Sends all watchers back for a new snapshot: nobody knows what was announced meanwhile."""
        self._listening.clear()
        for subscription in self._subscriptions:
            subscription.interrupt()

    async def _keep_telling(self) -> Never:
        while True:
            await self._woken.wait()
            self._woken.clear()
            try:
                await self._tell_changes()
            except (SQLAlchemyError, OSError, TimeoutError) as error:
                log.warning("changes_unread", error=str(error) or type(error).__name__)
                for subscription in self._subscriptions:
                    subscription.interrupt()
            await asyncio.sleep(COALESCING_SECONDS)

    async def _tell_changes(self) -> None:
        changed = sorted(self._announced)
        self._announced.clear()
        if not self._subscriptions:
            return
        for start in range(0, len(changed), PAGE):
            async with autocommit(self._engine) as connection:
                latest = await queries.get_many(connection, changed[start : start + PAGE])
            for event in latest:
                for subscription in self._subscriptions:
                    subscription.offer(event)
