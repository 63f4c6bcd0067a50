"""line_provider's events in Redis: what a score_maker that starts while line_provider is away can serve.

A mark stands only while every event is there: it is set by the script that puts them all in place, so a cache that
was flushed or half evicted is never mistaken for the whole. Of each event the newest revision stays, whichever
process of score_maker comes last. Scripts, since transactions of a pipeline are not for clusters.

Many events are stored a portion at a time, so that neither Redis nor this process does only that. A whole new set is
laid aside until it is whole, and then takes the place of the old one at once.
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

# Some milliseconds of this process, and fewer of Redis.
_AT_ONCE = 500

_LOAD = """
if redis.call('EXISTS', KEYS[3]) == 0 then return false end
return redis.call('HVALS', KEYS[1])
"""

_LAY_ASIDE = """
for i = 1, #ARGV, 3 do
    redis.call('HSET', KEYS[1], ARGV[i], ARGV[i + 2])
    redis.call('HSET', KEYS[2], ARGV[i], ARGV[i + 1])
end
redis.call('EXPIRE', KEYS[1], 60)
redis.call('EXPIRE', KEYS[2], 60)
"""

_PUT_IN_PLACE = """
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
    """Every method raises one of redis_connection.UNREACHABLE where Redis cannot be asked."""

    def __init__(self, redis: RedisClient) -> None:
        self._load = register_script(redis, _LOAD)
        self._lay_aside = register_script(redis, _LAY_ASIDE)
        self._put_in_place = register_script(redis, _PUT_IN_PLACE)
        self._store_newer = register_script(redis, _STORE_NEWER)

    async def load(self) -> list[events_pb2.Event] | None:
        """All events as they were stored last; None where they are not all there."""
        stored = await self._load(keys=_KEYS)
        if stored is None:
            return None
        try:
            return [events_pb2.Event.FromString(each) for each in stored]
        except DecodeError:
            return None

    async def replace_all(self, events: Collection[events_pb2.Event]) -> None:
        """Makes these all the events that there are; or leaves none, where Redis has lost some of them meanwhile."""
        aside = f"{{scoreline:events}}:{uuid4()}"
        keys = (f"{aside}:events", f"{aside}:revisions")
        for portion in batched(events, _AT_ONCE):
            await self._lay_aside(keys=keys, args=_arguments(portion))
        await self._put_in_place(keys=(*_KEYS, *keys), args=[len(events)])

    async def store(self, events: Collection[events_pb2.Event]) -> bool:
        """Stores what is newer than what is there; False, and nothing is stored, where not all events are there."""
        # Without any it asks all the same whether all are there.
        for portion in batched(events, _AT_ONCE) if events else [[]]:
            if not await self._store_newer(keys=_KEYS, args=_arguments(portion)):
                return False
        return True


def _arguments(events: Iterable[events_pb2.Event]) -> list[int | bytes]:
    arguments: list[int | bytes] = []
    for event in events:
        arguments += (event.event_id, event.revision, event.SerializeToString())
    return arguments
