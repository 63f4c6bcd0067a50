"""How often a rater and an address may write: counted in Redis, for all processes of score_maker together.

Without Redis nothing is limited, since a rating is worth more than a limit: a question to it takes a fraction of a
second at most, and after one that failed there are none for a while.
"""

import asyncio
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from ipaddress import IPv6Address, ip_address
from itertools import chain, islice
from typing import Literal

import structlog
from limits import RateLimitItem
from limits.aio.storage import RedisStorage
from limits.aio.strategies import SlidingWindowCounterRateLimiter
from redis.asyncio import RedisCluster
from redis.exceptions import NoScriptError

from score_maker.redis_connection import UNREACHABLE, RedisClient, register_script

log = structlog.get_logger(__name__)

# A Redis that is slower than this counts as away; for the pause after it, every request is admitted without asking.
TIMEOUT_SECONDS = 0.25
PAUSE_SECONDS = 2.0

Subject = Literal["rater", "address"]

# A limit, and who is limited.
_Limited = tuple[Subject, RateLimitItem, str]

# The keys and the values that the script takes for one limit.
_Arguments = tuple[tuple[bytes, ...], tuple[bytes, ...]]

# Of how many raters and addresses what is asked of Redis is kept, and need not be made up again.
_REMEMBERED = 10_000


@dataclass(frozen=True, slots=True)
class Exceeded:
    """The limit that stands in the way, whose it is, and the seconds after which it is worth another try."""

    limit: RateLimitItem
    subject: Subject
    retry_after: int


class RateLimits:
    """Each limit may be None, which is none. `redis` should answer or fail within TIMEOUT_SECONDS."""

    def __init__(self, redis: RedisClient, *, rater: RateLimitItem | None, address: RateLimitItem | None) -> None:
        self._counters = _Counters(redis)
        self._limiter = SlidingWindowCounterRateLimiter(self._counters)
        self._rater = rater
        self._address = address

    async def hit(self, *, address: str | None, rater: str | None) -> Exceeded | None:
        """Counts a write; answers with the limit that it exceeds, None where it may go on. Never raises.

        A write that one limit refuses may still count against the other.
        """
        limits: list[_Limited] = []
        if self._rater is not None and rater is not None:
            limits.append(("rater", self._rater, rater))
        if self._address is not None and address is not None:
            limits.append(("address", self._address, host_of(address)))
        if not limits:
            return None
        admitted = await self._counters.hit(limits)
        for (subject, limit, name), may_go_on in zip(limits, admitted, strict=True):
            if not may_go_on:
                return Exceeded(limit, subject, await self._retry_after(limit, subject, name))
        return None

    async def _retry_after(self, limit: RateLimitItem, subject: Subject, name: str) -> int:
        try:
            stats = await self._limiter.get_window_stats(limit, subject, name)
        except UNREACHABLE:
            return 1
        return max(1, math.ceil(stats.reset_time - time.time()))


@lru_cache(maxsize=_REMEMBERED)
def host_of(address: str) -> str:
    """Whom an address speaks for: IPv6 hosts have a whole /64 each, and IPv4 may come dressed as IPv6."""
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
    """What the script is given for each of the limits of a write."""

    arguments: list[_Arguments]
    admitted: asyncio.Future[list[bool]] = field(default_factory=lambda: asyncio.get_running_loop().create_future())


# The library's script, of two keys and three arguments, for as many limits as there are keys for.
_ACQUIRE_EACH = """
local function acquire(KEYS, ARGV)
    {acquire}
end
local admitted = {{}}
for i = 1, #KEYS / 2 do
    local keys, arguments = {{KEYS[2 * i - 1], KEYS[2 * i]}}, {{ARGV[3 * i - 2], ARGV[3 * i - 1], ARGV[3 * i]}}
    admitted[i] = acquire(keys, arguments) and 1 or 0
end
return admitted
"""
# Redis does nothing else meanwhile.
_MOST_AT_ONCE = 200


class _Counters(RedisStorage):
    """The library's counters and its script, asked at once for all who come while it is asked for others."""

    def __init__(self, redis: RedisClient) -> None:
        self._redis = redis
        super().__init__("redis://", implementation="redispy", key_prefix="scoreline:rate")
        acquire = self.bridge.SCRIPT_ACQUIRE_SLIDING_WINDOW.decode()
        self._script = register_script(redis, _ACQUIRE_EACH.format(acquire=acquire))
        # The keys of a cluster's script must be of one node; those of a limit are.
        self._at_once = 1 if isinstance(redis, RedisCluster) else _MOST_AT_ONCE
        self._sha = self._script.sha.encode()
        self._arguments = lru_cache(maxsize=_REMEMBERED)(self._make_arguments)
        self._waiting: list[_Hit] = []
        self._asking: asyncio.Task[None] | None = None
        self._ask_again_at = -math.inf
        self._is_away = False

    def configure_bridge(self) -> None:
        """Has the library ask by our client, which may be a cluster's."""
        self.bridge.connection_getter = lambda _: self._redis  # type: ignore[attr-defined]

    async def hit(self, limits: Sequence[_Limited]) -> list[bool]:
        """Whether each of the limits admits one more; all do while Redis is away."""
        if asyncio.get_running_loop().time() < self._ask_again_at:
            return [True] * len(limits)
        hit = _Hit([self._arguments(*limited) for limited in limits])
        self._waiting.append(hit)
        if self._asking is None:
            self._asking = asyncio.create_task(self._ask_while_any_wait(), name="rate-limits")
        return await hit.admitted

    def _make_arguments(self, subject: Subject, limit: RateLimitItem, name: str) -> _Arguments:
        # In bytes, which the client need not encode.
        key = limit.key_for(subject, name)
        previous = self.bridge.prefixed_key(self._previous_window_key(key)).encode()
        current = self.bridge.prefixed_key(self._current_window_key(key)).encode()
        return (previous, current), (b"%d" % limit.amount, b"%d" % limit.get_expiry(), b"1")

    async def _ask_while_any_wait(self) -> None:
        try:
            while hits := self._waiting:
                self._waiting = []
                answers = iter(await self._ask_or_admit([each for hit in hits for each in hit.arguments]))
                for hit in hits:
                    admitted = list(islice(answers, len(hit.arguments)))
                    if not hit.admitted.done():
                        hit.admitted.set_result(admitted)
        finally:
            self._asking = None

    async def _ask_or_admit(self, arguments: Sequence[_Arguments]) -> list[bool]:
        try:
            try:
                admitted = await self._ask(arguments)
            except NoScriptError:
                await self._redis.script_load(self._script.script)
                admitted = await self._ask(arguments)
        except UNREACHABLE as error:
            self._ask_again_at = asyncio.get_running_loop().time() + PAUSE_SECONDS
            if not self._is_away:
                log.warning("rate_limits_suspended", error=str(error) or type(error).__name__)
            self._is_away = True
            return [True] * len(arguments)
        if self._is_away:
            log.warning("rate_limits_resumed")
        self._is_away = False
        return admitted

    async def _ask(self, arguments: Sequence[_Arguments]) -> list[bool]:
        async with self._redis.pipeline(transaction=False) as pipeline:
            for start in range(0, len(arguments), self._at_once):
                these = arguments[start : start + self._at_once]
                keys, values = (tuple(chain.from_iterable(parts)) for parts in zip(*these, strict=True))
                pipeline.execute_command("EVALSHA", self._sha, b"%d" % len(keys), *keys, *values)
            return [admitted == 1 for answer in await pipeline.execute() for admitted in answer]
