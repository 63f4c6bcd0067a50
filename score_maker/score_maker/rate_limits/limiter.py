"""Rate limits: how often a rater and an address may write, counted in Redis for all processes together.

A write that is far from its limits (less than half used) is admitted at once and counted in Redis later, in steps of a
twentieth of the limit; nearer to a limit, Redis is asked first. So a write waits for Redis only when the answer may
matter, most raters never cause a request, and each further process may admit a twentieth of a limit that the others do
not know of yet.

Without Redis nothing is limited, because a rating is worth more than a limit: a request to Redis takes a fraction of a
second at most, and after a failed one there are none for a while.
"""

import asyncio
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from ipaddress import IPv6Address, ip_address
from itertools import islice
from types import TracebackType
from typing import Annotated, NamedTuple, Self

import structlog
from limits import RateLimitItem, parse_many
from limits.aio.storage import RedisStorage
from limits.aio.strategies import SlidingWindowCounterRateLimiter
from pydantic import BeforeValidator, InstanceOf
from redis.asyncio import RedisCluster
from redis.exceptions import NoScriptError

from score_maker.rate_limits.local_counts import LocalCount, LocalCounts, Subject
from score_maker.storage.redis import UNREACHABLE, RedisClient, register_script
from scoreline_common.batched import batched

log = structlog.get_logger(__name__)

# A Redis that is slower than this counts as unreachable; during the pause after it, writes are admitted without asking.
TIMEOUT_SECONDS = 0.25
PAUSE_SECONDS = 2.0


def _rate_limit(value: object) -> object:
    if not isinstance(value, str):
        return value
    if value.strip().lower() == "off":
        return None
    try:
        (limit,) = parse_many(value)
    except ValueError:
        raise ValueError("must look like 120/minute, or be off") from None
    if limit.amount < 1:
        raise ValueError("must admit at least one, or be off")
    return limit


# A setting: None means no limit and is written as "off", because an empty variable counts as unset.
RateLimit = Annotated[InstanceOf[RateLimitItem] | None, BeforeValidator(_rate_limit)]


@dataclass(frozen=True, slots=True)
class Exceeded:
    """The limit that a write exceeds, whose limit it is, and the seconds after which a retry makes sense."""

    limit: RateLimitItem
    subject: Subject
    retry_after: int


class RateLimits:
    """A limit of None does not limit. `redis` should answer or fail within TIMEOUT_SECONDS.

    An async context manager; leaving it waits for the requests that are under way.
    """

    def __init__(self, redis: RedisClient, *, rater: RateLimitItem | None, address: RateLimitItem | None) -> None:
        self._counters = _RemoteCounters(redis)
        self._limiter = SlidingWindowCounterRateLimiter(self._counters)
        sync = self._counters.sync
        self._of_raters = LocalCounts("rater", rater, sync) if rater is not None else None
        self._of_addresses = LocalCounts("address", address, sync) if address is not None else None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, error_type: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.until_synced()

    async def until_synced(self) -> None:
        """Returns once the requests to Redis that are under way are done."""
        await self._counters.until_synced()

    async def hit(self, *, address: str | None, rater: str | None) -> Exceeded | None:
        """Counts a write; returns the limit that it exceeds, or None if it is admitted. Never raises.

        A write that one limit refuses may still count against the other.
        """
        now = asyncio.get_running_loop().time()
        counts: list[LocalCount] = []
        if self._of_raters is not None and rater is not None:
            counts.append(self._of_raters.of(rater, now))
        if self._of_addresses is not None and address is not None:
            counts.append(self._of_addresses.of(network_of(address), now))
        if self._counters.admits_at_once(counts, now):
            return None
        for count, is_admitted in zip(counts, await self._counters.hit(counts), strict=True):
            if not is_admitted:
                return Exceeded(count.limited.limit, count.limited.subject, await self._retry_after(count))
        return None

    async def _retry_after(self, count: LocalCount) -> int:
        try:
            stats = await self._limiter.get_window_stats(count.limited.limit, count.limited.subject, count.name)
        except UNREACHABLE:
            return 1
        return max(1, math.ceil(stats.reset_time - time.time()))


@lru_cache(maxsize=10_000)
def network_of(address: str) -> str:
    """Returns what an address is limited by: its /64 for IPv6, because a host has a whole one, else itself.

    IPv4 may come mapped into IPv6.
    """
    try:
        ip = ip_address(address)
    except ValueError:
        return address
    if isinstance(ip, IPv6Address):
        if ip.ipv4_mapped is not None:
            return str(ip.ipv4_mapped)
        return f"{IPv6Address(int(ip) >> 64 << 64)}/64"
    return address


@dataclass(eq=False, slots=True)
class _Hit:
    """A write that waits for Redis to count it."""

    counts: Sequence[LocalCount]
    admitted: asyncio.Future[list[bool]] = field(default_factory=lambda: asyncio.get_running_loop().create_future())


class _Query(NamedTuple):
    """Adds `hits` to a counter in Redis, unless that would exceed `limit`."""

    counter: LocalCount
    hits: int
    limit: int

    def arguments(self) -> tuple[int, int, int]:
        return self.limit, self.counter.limited.window_seconds, self.hits


# For writes that were admitted already: they are counted whatever the limit says.
_UNLIMITED = 10**15

# The library's script takes two keys and three arguments; this runs it for any number of counters.
_ACQUIRE_EACH = """
local function acquire(KEYS, ARGV)
    {acquire}
end
local answers = {{}}
for i = 1, #KEYS / 2 do
    local keys, arguments = {{KEYS[2 * i - 1], KEYS[2 * i]}}, {{ARGV[3 * i - 2], ARGV[3 * i - 1], ARGV[3 * i]}}
    if acquire(keys, arguments) then
        answers[i] = (tonumber(redis.call('get', keys[1])) or 0) + (tonumber(redis.call('get', keys[2])) or 0)
    else
        answers[i] = {exceeded}
    end
end
return answers
"""
_EXCEEDED = -1
# Redis is blocked while a script runs.
_MAX_QUERIES_PER_SCRIPT = 200


class _RemoteCounters(RedisStorage):
    """The library's counters and script in Redis. Concurrent callers share the next round trip."""

    def __init__(self, redis: RedisClient) -> None:
        self._redis = redis
        super().__init__("redis://", implementation="redispy", key_prefix="scoreline:rate")
        acquire = self.bridge.SCRIPT_ACQUIRE_SLIDING_WINDOW.decode()
        self._script = register_script(redis, _ACQUIRE_EACH.format(acquire=acquire, exceeded=_EXCEEDED))
        # The keys of a cluster's script must be on one node, as those of one counter are.
        self._queries_per_script = 1 if isinstance(redis, RedisCluster) else _MAX_QUERIES_PER_SCRIPT
        self._to_sync: set[LocalCount] = set()
        self._waiting: list[_Hit] = []
        self._asking: asyncio.Task[None] | None = None
        self._ask_again_at = -math.inf
        self._is_suspended = False

    def configure_bridge(self) -> None:
        """Makes the library use our client, which may be a cluster's."""
        self.bridge.connection_getter = lambda _: self._redis  # type: ignore[attr-defined]

    def admits_at_once(self, counts: Sequence[LocalCount], now: float) -> bool:
        """Counts one write on each, if Redis need not be asked: far from the limits, or while it is unreachable."""
        if now < self._ask_again_at:
            return True
        for count in counts:
            if not count.is_far_from_limit(now):
                return False
        for count in counts:
            if count.admit():
                self.sync(count)
        return True

    async def hit(self, counts: Sequence[LocalCount]) -> list[bool]:
        """Returns for each counter whether it admits one more write; all do if Redis does not answer."""
        hit = _Hit(counts)
        # Syncs what was admitted earlier first, so that the answer includes it.
        self._to_sync.update(count for count in counts if count.unsynced)
        self._waiting.append(hit)
        self._ask()
        return await hit.admitted

    def sync(self, count: LocalCount) -> None:
        """Adds to Redis what it does not know yet, without waiting for it."""
        self._to_sync.add(count)
        self._ask()

    async def until_synced(self) -> None:
        """Returns once Redis has counted, or failed to."""
        if self._asking is not None:
            await asyncio.wait({self._asking})

    def _ask(self) -> None:
        if self._asking is None:
            self._asking = asyncio.create_task(self._ask_while_needed(), name="rate-limits")

    async def _ask_while_needed(self) -> None:
        try:
            while self._to_sync or self._waiting:
                to_sync, self._to_sync = self._to_sync, set()
                hits, self._waiting = self._waiting, []
                queries = [_Query(count, count.take_unsynced(), _UNLIMITED) for count in to_sync]
                queries += [_Query(count, 1, count.limited.limit.amount) for hit in hits for count in hit.counts]
                admitted = iter((await self._ask_or_admit(queries))[len(to_sync) :])
                for hit in hits:
                    each = list(islice(admitted, len(hit.counts)))
                    if not hit.admitted.done():
                        hit.admitted.set_result(each)
        finally:
            self._asking = None

    async def _ask_or_admit(self, queries: Sequence[_Query]) -> list[bool]:
        try:
            try:
                answers = await self._ask_redis(queries)
            except NoScriptError:
                await self._redis.script_load(self._script.script)
                answers = await self._ask_redis(queries)
        except Exception as error:
            self._ask_again_at = asyncio.get_running_loop().time() + PAUSE_SECONDS
            if not isinstance(error, UNREACHABLE):
                log.exception("rate_limits_failed")
            elif not self._is_suspended:
                log.warning("rate_limits_suspended", error=str(error) or type(error).__name__)
            self._is_suspended = True
            return [True] * len(queries)
        if self._is_suspended:
            log.warning("rate_limits_resumed")
        self._is_suspended = False
        now = asyncio.get_running_loop().time()
        admitted = []
        for query, answer in zip(queries, answers, strict=True):
            used = query.counter.limited.limit.amount if answer == _EXCEEDED else answer
            query.counter.apply_remote_count(used, now)
            admitted.append(answer != _EXCEEDED)
        return admitted

    async def _ask_redis(self, queries: Sequence[_Query]) -> list[int]:
        async with self._redis.pipeline(transaction=False) as pipeline:
            for batch in batched(queries, self._queries_per_script):
                keys = [key for query in batch for key in self._keys(query.counter)]
                values = [value for query in batch for value in query.arguments()]
                pipeline.execute_command("EVALSHA", self._script.sha, len(keys), *keys, *values)
            return [answer for answers in await pipeline.execute() for answer in answers]

    def _keys(self, count: LocalCount) -> tuple[str, str]:
        key = count.limited.limit.key_for(count.limited.subject, count.name)
        previous, current = self._previous_window_key(key), self._current_window_key(key)
        return self.bridge.prefixed_key(previous), self.bridge.prefixed_key(current)
