"""Keeps the catalog as fresh as it can be: from line_provider while the watch is connected, otherwise from Redis.

line_provider's watch starts with a snapshot each time it is opened, so a watch that broke has missed nothing once it
is connected again. Until then the catalog is stale and says so; it is never emptied.
"""

import asyncio
import random
from collections.abc import Collection, Iterable, Iterator
from contextlib import suppress
from typing import Never

import grpc
import structlog

from score_maker.events import metrics
from score_maker.events.cache import EventCache
from score_maker.events.catalog import EventCatalog
from score_maker.events.event import Event
from score_maker.events.translate import event_of
from score_maker.storage.redis import UNREACHABLE
from scoreline.line_provider.v1 import events_pb2
from scoreline.line_provider.v1.events_pb2_grpc import EventServiceStub

log = structlog.get_logger(__name__)

WATCH_RETRY_SECONDS = 0.5
CACHE_RETRY_SECONDS = 1
# How long a flushed cache may go unnoticed while no event changes.
CACHE_CHECK_SECONDS = 15
LOOKUP_TIMEOUT_SECONDS = 1
# Blocks the event loop for a few milliseconds.
CHUNK = 100


class EventLookupUnavailable(Exception):
    """Whether the event exists is unknown: the catalog does not have it, and line_provider does not answer."""


class EventFeed:
    """Feeds one catalog. `run` never returns; `load_from_cache` and `find` may be used beside it."""

    def __init__(self, channel: grpc.aio.Channel, cache: EventCache, catalog: EventCatalog) -> None:
        self._line_provider = EventServiceStub(channel)
        self._cache = cache
        self._catalog = catalog
        # Stale until the first snapshot.
        metrics.STALE.set(catalog.is_stale)
        self._snapshot_taken = asyncio.Event()
        self._messages: dict[int, events_pb2.Event] = {}
        self._unstored: set[int] = set()
        self._to_store = asyncio.Event()

    async def run(self) -> Never:
        async with asyncio.TaskGroup() as group:
            group.create_task(self._keep_watching(), name="event-watch")
            group.create_task(self._keep_storing(), name="event-cache")
        raise AssertionError("its tasks never end")

    async def wait_for_snapshot(self, seconds: float) -> bool:
        """Waits for line_provider's first snapshot; returns whether it came in time."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._snapshot_taken.wait()
        return self._snapshot_taken.is_set()

    async def load_from_cache(self) -> None:
        """Fills the catalog with the events that an earlier score_maker stored in Redis, if there are any."""
        try:
            stored = await self._cache.load()
        except UNREACHABLE as error:
            log.warning("event_cache_unreachable", error=str(error))
            return
        if stored is not None and not self._catalog.is_known:
            self._catalog.replace_all(_readable(stored))

    async def find(self, event_id: int) -> Event | None:
        """Returns the event, or None if there is none. Raises EventLookupUnavailable.

        line_provider is asked for an event that the catalog lacks, so one that was created a moment ago is found.
        """
        if event := self._catalog.get(event_id):
            metrics.LOOKUP_HITS.inc()
            return event
        try:
            request = events_pb2.GetEventRequest(event_id=event_id)
            response = await self._line_provider.GetEvent(request, timeout=LOOKUP_TIMEOUT_SECONDS)
        except grpc.aio.AioRpcError as error:
            if error.code() is grpc.StatusCode.NOT_FOUND:
                metrics.LOOKUPS.labels("not_found").inc()
                return None
            metrics.LOOKUPS.labels("unavailable").inc()
            raise EventLookupUnavailable from error
        metrics.LOOKUPS.labels("miss").inc()
        return event_of(response.event)

    async def _keep_watching(self) -> Never:
        while True:
            try:
                await self._watch()
                reason = "the stream has ended"
            except grpc.aio.AioRpcError as error:
                reason = f"{error.code().name}: {error.details()}"
            if not self._catalog.is_stale:
                log.warning("event_watch_lost", reason=reason)
            self._set_stale(True)
            # All processes lose line_provider at the same moment; jitter keeps them from coming back at the same one.
            await asyncio.sleep(WATCH_RETRY_SECONDS * random.uniform(0.5, 1.5))  # noqa: S311

    async def _watch(self) -> None:
        snapshot: dict[int, events_pb2.Event] | None = {}
        request = events_pb2.WatchEventsRequest(in_batches=True)
        async for response in self._line_provider.WatchEvents(request, wait_for_ready=True):
            if response.HasField("snapshot_complete") and snapshot is not None:
                await self._take_snapshot(snapshot)
                snapshot = None
            for event in _events_in(response):
                if snapshot is None:
                    self._take(event)
                else:
                    _keep_newest(snapshot, event)

    def _set_stale(self, is_stale: bool) -> None:
        self._catalog.is_stale = is_stale
        metrics.STALE.set(is_stale)

    async def _take_snapshot(self, messages: dict[int, events_pb2.Event]) -> None:
        self._messages = messages
        for _ in self._catalog.replacing(_readable(messages.values()), at_once=CHUNK):
            await asyncio.sleep(0)
        self._set_stale(False)
        self._snapshot_taken.set()
        self._unstored = set(messages)
        self._to_store.set()
        log.info("event_watch_connected", events=len(messages))

    def _take(self, message: events_pb2.Event) -> None:
        _keep_newest(self._messages, message)
        for event in _readable([message]):
            self._catalog.put(event)
        self._unstored.add(message.event_id)
        self._to_store.set()

    async def _keep_storing(self) -> Never:
        """Writes changes to Redis in batches, and all events if Redis has lost them."""
        await self._snapshot_taken.wait()
        while True:
            _raise_if_cancelled()
            with suppress(TimeoutError):
                async with asyncio.timeout(CACHE_CHECK_SECONDS):
                    await self._to_store.wait()
            self._to_store.clear()
            changed, self._unstored = self._unstored, set()
            try:
                await self._store(changed)
            except UNREACHABLE as error:
                log.warning("event_cache_unreachable", error=str(error))
                self._unstored |= changed
                self._to_store.set()
                await asyncio.sleep(CACHE_RETRY_SECONDS)

    async def _store(self, event_ids: Collection[int]) -> None:
        changed = [self._messages[event_id] for event_id in event_ids if event_id in self._messages]
        if len(changed) == len(self._messages) or not await self._cache.store(changed):
            await self._cache.replace_all(list(self._messages.values()))


def _raise_if_cancelled() -> None:
    """Ends a task that was cancelled although the exception got lost.

    redis-py sends by asyncio.wait_for, which until Python 3.12 swallows a cancellation that arrives as it finishes.
    """
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError


def _readable(messages: Iterable[events_pb2.Event]) -> Iterator[Event]:
    """Skips events that cannot be read: one bad event must not keep the others from being fresh."""
    for message in messages:
        try:
            yield event_of(message)
        except (ValueError, OverflowError):
            log.exception("event_unreadable", event_id=message.event_id)


def _events_in(response: events_pb2.WatchEventsResponse) -> Iterable[events_pb2.Event]:
    """A line_provider that does not know batches sends each event alone."""
    return (response.event,) if response.HasField("event") else response.batch.events


def _keep_newest(messages: dict[int, events_pb2.Event], message: events_pb2.Event) -> None:
    known = messages.get(message.event_id)
    if known is None or known.revision <= message.revision:
        messages[message.event_id] = message
