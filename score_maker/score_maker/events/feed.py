"""Keeps the catalog as fresh as it can be: from line_provider while that is heard, else from what Redis kept.

line_provider's watch begins with a snapshot each time it is opened, so a broken watch can have missed nothing once it
is open again. Until then the catalog is stale and says so; it is never emptied.
"""

import asyncio
import random
from collections.abc import Collection, Iterable
from contextlib import suppress
from datetime import UTC, datetime
from typing import Never

import grpc
import structlog
from google.protobuf.timestamp_pb2 import Timestamp

from score_maker import metrics
from score_maker.events.cache import EventCache
from score_maker.events.catalog import Event, EventCatalog, Status
from score_maker.storage.redis import UNREACHABLE
from scoreline.line_provider.v1 import events_pb2
from scoreline.line_provider.v1.events_pb2_grpc import EventServiceStub

log = structlog.get_logger(__name__)

WATCH_RETRY_SECONDS = 0.5
CACHE_RETRY_SECONDS = 1
# How long a flushed cache may go unnoticed while no event changes.
CACHE_CHECK_SECONDS = 15
LOOKUP_TIMEOUT_SECONDS = 1
# Some milliseconds, in which no request is answered.
EVENTS_AT_ONCE = 100


class EventUnknowable(Exception):
    """Whether there is such an event cannot be told: it is not in the catalog, and line_provider does not answer."""


class EventFeed:
    """Feeds one catalog. `run` never returns; `load_from_cache` and `find` may be used beside it."""

    def __init__(self, channel: grpc.aio.Channel, cache: EventCache, catalog: EventCatalog) -> None:
        self._line_provider = EventServiceStub(channel)
        self._cache = cache
        self._catalog = catalog
        # Until line_provider is heard.
        metrics.EVENTS_STALE.set(catalog.is_stale)
        self._snapshot_taken = asyncio.Event()
        self._messages: dict[int, events_pb2.Event] = {}
        self._unstored: set[int] = set()
        self._to_store = asyncio.Event()

    async def run(self) -> Never:
        async with asyncio.TaskGroup() as group:
            group.create_task(self._keep_watching())
            group.create_task(self._keep_storing())
        raise AssertionError("its tasks never end")

    async def wait_for_snapshot(self, seconds: float) -> bool:
        """Whether line_provider's first snapshot came within the time."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._snapshot_taken.wait()
        return self._snapshot_taken.is_set()

    async def load_from_cache(self) -> None:
        """Fills the catalog with what an earlier score_maker kept in Redis, if it did."""
        try:
            stored = await self._cache.load()
        except UNREACHABLE as error:
            log.warning("event_cache_unreachable", error=str(error))
            return
        if stored is not None and not self._catalog.is_known:
            self._catalog.replace_all(map(event_of, stored))

    async def find(self, event_id: int) -> Event | None:
        """The event; None where there is none. Raises EventUnknowable.

        What the catalog lacks is asked of line_provider: an event that was made a moment ago is found.
        """
        if event := self._catalog.get(event_id):
            metrics.EVENT_CACHE_HITS.inc()
            return event
        try:
            request = events_pb2.GetEventRequest(event_id=event_id)
            response = await self._line_provider.GetEvent(request, timeout=LOOKUP_TIMEOUT_SECONDS)
        except grpc.aio.AioRpcError as error:
            metrics.EVENT_CACHE.labels("vain").inc()
            if error.code() is grpc.StatusCode.NOT_FOUND:
                return None
            raise EventUnknowable from error
        metrics.EVENT_CACHE.labels("miss").inc()
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
            self._tell_stale(True)
            # All of score_maker's processes lose line_provider at once and need not come back at once.
            await asyncio.sleep(WATCH_RETRY_SECONDS * random.uniform(0.5, 1.5))  # noqa: S311

    async def _watch(self) -> None:
        snapshot: dict[int, events_pb2.Event] | None = {}
        request = events_pb2.WatchEventsRequest(in_batches=True)
        async for response in self._line_provider.WatchEvents(request, wait_for_ready=True):
            if response.HasField("snapshot_complete") and snapshot is not None:
                await self._take_all(snapshot)
                snapshot = None
            for event in _told(response):
                if snapshot is None:
                    self._take(event)
                else:
                    _keep_newest(snapshot, event)

    def _tell_stale(self, is_stale: bool) -> None:
        self._catalog.is_stale = is_stale
        metrics.EVENTS_STALE.set(is_stale)

    async def _take_all(self, messages: dict[int, events_pb2.Event]) -> None:
        self._messages = messages
        for _ in self._catalog.replacing(map(event_of, messages.values()), at_once=EVENTS_AT_ONCE):
            await asyncio.sleep(0)
        self._tell_stale(False)
        self._snapshot_taken.set()
        self._unstored = set(messages)
        self._to_store.set()
        log.info("event_watch_open", events=len(messages))

    def _take(self, message: events_pb2.Event) -> None:
        _keep_newest(self._messages, message)
        self._catalog.put(event_of(message))
        self._unstored.add(message.event_id)
        self._to_store.set()

    async def _keep_storing(self) -> Never:
        """Writes changes to Redis, many at a time; all of them where Redis has lost them."""
        await self._snapshot_taken.wait()
        while True:
            _end_if_cancelled()
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


def _end_if_cancelled() -> None:
    """Ends the task that was told to. Of what it calls, redis-py may keep that to itself: it sends by wait_for, which
    until Python 3.12 swallows a cancellation that comes as it is done."""
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError


def _told(response: events_pb2.WatchEventsResponse) -> Iterable[events_pb2.Event]:
    """By a line_provider that knows no batches, each event is told alone."""
    return (response.event,) if response.HasField("event") else response.batch.events


def _keep_newest(messages: dict[int, events_pb2.Event], message: events_pb2.Event) -> None:
    known = messages.get(message.event_id)
    if known is None or known.revision <= message.revision:
        messages[message.event_id] = message


def event_of(message: events_pb2.Event) -> Event:
    """The event that line_provider's message describes."""
    return Event(
        event_id=message.event_id,
        title=message.title,
        description=message.description,
        starts_at=_utc(message.starts_at),
        deadline=_utc(message.deadline),
        status=Status(events_pb2.EventStatus.Name(message.status).removeprefix("EVENT_STATUS_")),
        cancelled_at=_utc(message.cancelled_at) if message.HasField("cancelled_at") else None,
        finalized_at=_utc(message.finalized_at) if message.HasField("finalized_at") else None,
        score_count=message.totals.count,
        score_sum=message.totals.sum,
        histogram=tuple(message.totals.histogram),
        revision=message.revision,
        created_at=_utc(message.created_at),
    )


def _utc(timestamp: Timestamp) -> datetime:
    return timestamp.ToDatetime(tzinfo=UTC)
