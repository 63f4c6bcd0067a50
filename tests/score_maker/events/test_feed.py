"""Cancelling the task of the event feed."""

import asyncio
from collections.abc import Collection

from score_maker.events.cache import EventCache
from score_maker.events.catalog import EventCatalog
from score_maker.events.feed import EventFeed
from scoreline.line_provider.v1 import events_pb2
from scoreline_common.line_provider_channel import open_channel
from tests.support.scripted_line_provider import ScriptedLineProvider, event


class CacheThatSwallowsCancellation(EventCache):
    """Redis's client at its worst: it completes just as it is cancelled, and swallows the cancellation."""

    def __init__(self) -> None:
        self.is_storing = asyncio.Event()

    async def replace_all(self, events: Collection[events_pb2.Event]) -> None:  # noqa: ARG002
        self.is_storing.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            return

    async def store(self, events: Collection[events_pb2.Event]) -> bool:  # noqa: ARG002
        return True


async def test_the_feed_ends_when_cancelled_even_if_the_cache_swallows_the_cancellation(
    line_provider: ScriptedLineProvider,
) -> None:
    line_provider.put(event(1))
    cache = CacheThatSwallowsCancellation()
    async with open_channel(line_provider.address) as channel:
        feeding = asyncio.create_task(EventFeed(channel, cache, EventCatalog()).run())
        await cache.is_storing.wait()
        feeding.cancel()
        await asyncio.wait({feeding}, timeout=30)
        ended = feeding.done()
        feeding.cancel()
        assert ended, "it went on despite the cancellation"
        assert feeding.cancelled()
