"""line_provider's events in Redis, for a score_maker that starts while line_provider is unreachable.

The key `complete` exists only while every event is there: the script that swaps in a whole set writes it, so a cache
that was flushed or partly evicted is never mistaken for a complete one. The newest revision of each event wins,
whichever process writes last. These are scripts because a cluster does not support transactions in a pipeline.

Events are stored in batches, so that neither Redis nor this process is blocked for long. A whole new set is staged
under other keys and replaces the old one at once.
"""

from collections.abc import Collection, Iterable
from uuid import uuid4

from google.protobuf.message import DecodeError

from score_maker.storage.redis import RedisClient, register_script
from scoreline.line_provider.v1 import events_pb2
from scoreline_common.batched import batched

# One hash tag, so that a cluster keeps them together.
_EVENTS = "{scoreline:events}:events"
_REVISIONS = "{scoreline:events}:revisions"
_COMPLETE = "{scoreline:events}:complete"
_KEYS = (_EVENTS, _REVISIONS, _COMPLETE)

# Blocks this process for a few milliseconds, and Redis for fewer.
_BATCH = 500

_LOAD = """
if redis.call('EXISTS', KEYS[3]) == 0 then return false end
return redis.call('HVALS', KEYS[1])
"""

_STAGE = """
for i = 1, #ARGV, 3 do
    redis.call('HSET', KEYS[1], ARGV[i], ARGV[i + 2])
    redis.call('HSET', KEYS[2], ARGV[i], ARGV[i + 1])
end
redis.call('EXPIRE', KEYS[1], 60)
redis.call('EXPIRE', KEYS[2], 60)
"""

_SWAP_IN = """
redis.call('UNLINK', KEYS[1], KEYS[2], KEYS[3])
local whole = tonumber(ARGV[1])
if redis.call('HLEN', KEYS[4]) ~= whole or redis.call('HLEN', KEYS[5]) ~= whole then return end
if whole > 0 then
    redis.call('RENAME', KEYS[4], KEYS[1])
    redis.call('RENAME', KEYS[5], KEYS[2])
    redis.call('PERSIST', KEYS[1])
    redis.call('PERSIST', KEYS[2])
end
redis.call('SET', KEYS[3], 1)
"""

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
    """Every method raises one of storage.redis.UNREACHABLE if Redis does not answer."""

    def __init__(self, redis: RedisClient) -> None:
        self._load = register_script(redis, _LOAD)
        self._stage = register_script(redis, _STAGE)
        self._swap_in = register_script(redis, _SWAP_IN)
        self._store_newer = register_script(redis, _STORE_NEWER)

    async def load(self) -> list[events_pb2.Event] | None:
        """Returns all events as they were stored last; None if they are not all there."""
        stored = await self._load(keys=_KEYS)
        if stored is None:
            return None
        try:
            return [events_pb2.Event.FromString(each) for each in stored]
        except DecodeError:
            return None

    async def replace_all(self, events: Collection[events_pb2.Event]) -> None:
        """Replaces all events by these; leaves none if Redis has lost some of them meanwhile."""
        staged = f"{{scoreline:events}}:{uuid4()}"
        keys = (f"{staged}:events", f"{staged}:revisions")
        for batch in batched(events, _BATCH):
            await self._stage(keys=keys, args=_arguments(batch))
        await self._swap_in(keys=(*_KEYS, *keys), args=[len(events)])

    async def store(self, events: Collection[events_pb2.Event]) -> bool:
        """Stores events that are newer than the stored ones; returns False and stops if the cache is incomplete."""
        # Without any events it still checks whether the cache is complete.
        for batch in batched(events, _BATCH) if events else [[]]:
            if not await self._store_newer(keys=_KEYS, args=_arguments(batch)):
                return False
        return True


def _arguments(events: Iterable[events_pb2.Event]) -> list[int | bytes]:
    arguments: list[int | bytes] = []
    for event in events:
        arguments += (event.event_id, event.revision, event.SerializeToString())
    return arguments
