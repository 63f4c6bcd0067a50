"""line_provider's events in Redis: what a score_maker that starts while line_provider is away can serve.

A mark stands only while every event is there: it is set by the transaction that stores them all, so a cache that was
flushed or half evicted is never mistaken for the whole. Of each event the newest revision stays, whichever
process of score_maker comes last.
"""

from collections.abc import Collection

from google.protobuf.message import DecodeError
from redis.asyncio import Redis

from scoreline.line_provider.v1 import events_pb2

# One hash tag, so that a cluster keeps them together.
_EVENTS = "{scoreline:events}:events"
_REVISIONS = "{scoreline:events}:revisions"
_COMPLETE = "{scoreline:events}:complete"

_STORE_NEWER = """
if redis.call('EXISTS', KEYS[3]) == 0 then return 0 end
for i = 1, #ARGV, 3 do
    local known = redis.call('HGET', KEYS[2], ARGV[i])
    if not known or tonumber(known) < tonumber(ARGV[i + 1]) then
        redis.call('HSET', KEYS[1], ARGV[i], ARGV[i + 2])
        redis.call('HSET', KEYS[2], ARGV[i], ARGV[i + 1])
    end
end
return 1
"""


class EventCache:
    """Every method raises RedisError or OSError where Redis cannot be asked."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._store_newer = redis.register_script(_STORE_NEWER)

    async def load(self) -> list[events_pb2.Event] | None:
        """All events as they were stored last; None where they are not all there."""
        async with self._redis.pipeline(transaction=True) as pipeline:
            pipeline.exists(_COMPLETE)
            pipeline.hvals(_EVENTS)
            complete, stored = await pipeline.execute()
        if not complete:
            return None
        try:
            return [events_pb2.Event.FromString(each) for each in stored]
        except DecodeError:
            return None

    async def replace_all(self, events: Collection[events_pb2.Event]) -> None:
        """Makes these all the events that there are."""
        async with self._redis.pipeline(transaction=True) as pipeline:
            pipeline.delete(_EVENTS, _REVISIONS)
            if events:
                pipeline.hset(_EVENTS, mapping={str(event.event_id): event.SerializeToString() for event in events})
                pipeline.hset(_REVISIONS, mapping={str(event.event_id): event.revision for event in events})
            pipeline.set(_COMPLETE, 1)
            await pipeline.execute()

    async def store(self, events: Collection[events_pb2.Event]) -> bool:
        """Stores what is newer than what is there; False, and nothing is stored, where not all events are there."""
        arguments: list[int | bytes] = []
        for event in events:
            arguments += (event.event_id, event.revision, event.SerializeToString())
        return bool(await self._store_newer(keys=[_EVENTS, _REVISIONS, _COMPLETE], args=arguments))
