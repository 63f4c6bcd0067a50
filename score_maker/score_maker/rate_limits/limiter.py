"""How often a rater and an address may write: counted in Redis, for all processes of score_maker together.

Who has used less than half of a limit may go on at once and is counted behind, in portions of a twentieth of the limit;
nearer to it, Redis is waited for. So a write waits for Redis only where the answer may matter, most raters never need
one, and each further process may let through a twentieth of a limit of which the others have not heard.

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

from score_maker.rate_limits.local_counts import Subject, WriteCount, WriteCounts
from score_maker.storage.redis import UNREACHABLE, RedisClient, register_script
from scoreline_common.batched import batched

log = structlog.get_logger(__name__)

# A Redis that is slower than this counts as away; for the pause after it, every request is admitted without asking.
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
    """The limit that stands in the way, whose it is, and the seconds after which it is worth another try."""

    limit: RateLimitItem
    subject: Subject
    retry_after: int


class RateLimits:
    """Each limit may be None, which is none. `redis` should answer or fail within TIMEOUT_SECONDS.

    An async context manager; leaving it waits for the questions that are under way.
    """

    def __init__(self, redis: RedisClient, *, rater: RateLimitItem | None, address: RateLimitItem | None) -> None:
        self._counters = _Counters(redis)
        self._limiter = SlidingWindowCounterRateLimiter(self._counters)
        tell = self._counters.tell
        self._of_raters = WriteCounts("rater", rater, tell) if rater is not None else None
        self._of_addresses = WriteCounts("address", address, tell) if address is not None else None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, error_type: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.until_counted()

    async def until_counted(self) -> None:
        """Returns once Redis has counted what it is to hear of what was admitted before."""
        await self._counters.until_counted()

    async def hit(self, *, address: str | None, rater: str | None) -> Exceeded | None:
        """Counts a write; answers with the limit that it exceeds, None where it may go on. Never raises.

        A write that one limit refuses may still count against the other.
        """
        now = asyncio.get_running_loop().time()
        counts: list[WriteCount] = []
        if self._of_raters is not None and rater is not None:
            counts.append(self._of_raters.of(rater, now))
        if self._of_addresses is not None and address is not None:
            counts.append(self._of_addresses.of(host_of(address), now))
        if self._counters.admits_at_once(counts, now):
            return None
        for count, may_go_on in zip(counts, await self._counters.hit(counts), strict=True):
            if not may_go_on:
                return Exceeded(count.limited.limit, count.limited.subject, await self._retry_after(count))
        return None

    async def _retry_after(self, count: WriteCount) -> int:
        try:
            stats = await self._limiter.get_window_stats(count.limited.limit, count.limited.subject, count.name)
        except UNREACHABLE:
            return 1
        return max(1, math.ceil(stats.reset_time - time.time()))


@lru_cache(maxsize=10_000)
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
    """A write that waits for what Redis says of its counts."""

    counts: Sequence[WriteCount]
    admitted: asyncio.Future[list[bool]] = field(default_factory=lambda: asyncio.get_running_loop().create_future())


class _Question(NamedTuple):
    of: WriteCount
    hits: int
    up_to: int

    def arguments(self) -> tuple[int, int, int]:
        return self.up_to, self.of.limited.seconds, self.hits


# No limit: what was admitted is counted.
_WHATEVER_IS_USED = 10**15

# The library's script, of two keys and three arguments, for as many limits as there are keys for.
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
        answers[i] = {nothing_left}
    end
end
return answers
"""
_NOTHING_LEFT = -1
# Redis does nothing else meanwhile.
_MOST_AT_ONCE = 200


class _Counters(RedisStorage):
    """The library's counters and its script, asked at once for all who come while it is asked for others."""

    def __init__(self, redis: RedisClient) -> None:
        self._redis = redis
        super().__init__("redis://", implementation="redispy", key_prefix="scoreline:rate")
        acquire = self.bridge.SCRIPT_ACQUIRE_SLIDING_WINDOW.decode()
        self._script = register_script(redis, _ACQUIRE_EACH.format(acquire=acquire, nothing_left=_NOTHING_LEFT))
        # The keys of a cluster's script must be of one node; those of a limit are.
        self._at_once = 1 if isinstance(redis, RedisCluster) else _MOST_AT_ONCE
        self._behind: set[WriteCount] = set()
        self._waiting: list[_Hit] = []
        self._asking: asyncio.Task[None] | None = None
        self._ask_again_at = -math.inf
        self._is_away = False

    def configure_bridge(self) -> None:
        """Has the library ask by our client, which may be a cluster's."""
        self.bridge.connection_getter = lambda _: self._redis  # type: ignore[attr-defined]

    def admits_at_once(self, counts: Sequence[WriteCount], now: float) -> bool:
        """Counts one on each, where Redis need not be waited for: far from the limits, and while it is away."""
        if now < self._ask_again_at:
            return True
        for count in counts:
            if not count.is_far_from_limit(now):
                return False
        for count in counts:
            if count.admit():
                self.tell(count)
        return True

    async def hit(self, counts: Sequence[WriteCount]) -> list[bool]:
        """Whether each of them admits one more; all do where Redis cannot be asked."""
        hit = _Hit(counts)
        # First what was admitted before, so that those who wait are told of it.
        self._behind.update(count for count in counts if count.unheard_of)
        self._waiting.append(hit)
        self._ask()
        return await hit.admitted

    def tell(self, count: WriteCount) -> None:
        """Has Redis hear of what it has not heard of."""
        self._behind.add(count)
        self._ask()

    async def until_counted(self) -> None:
        """Returns once Redis has counted, or failed to."""
        if self._asking is not None:
            await asyncio.wait({self._asking})

    def _ask(self) -> None:
        if self._asking is None:
            self._asking = asyncio.create_task(self._ask_while_there_is_anything(), name="rate-limits")

    async def _ask_while_there_is_anything(self) -> None:
        try:
            while self._behind or self._waiting:
                behind, self._behind = self._behind, set()
                hits, self._waiting = self._waiting, []
                questions = [_Question(count, count.hand_over(), _WHATEVER_IS_USED) for count in behind]
                questions += [_Question(count, 1, count.limited.limit.amount) for hit in hits for count in hit.counts]
                admitted = iter((await self._ask_or_admit(questions))[len(behind) :])
                for hit in hits:
                    each = list(islice(admitted, len(hit.counts)))
                    if not hit.admitted.done():
                        hit.admitted.set_result(each)
        finally:
            self._asking = None

    async def _ask_or_admit(self, questions: Sequence[_Question]) -> list[bool]:
        try:
            try:
                answers = await self._ask_redis(questions)
            except NoScriptError:
                await self._redis.script_load(self._script.script)
                answers = await self._ask_redis(questions)
        except UNREACHABLE as error:
            self._ask_again_at = asyncio.get_running_loop().time() + PAUSE_SECONDS
            if not self._is_away:
                log.warning("rate_limits_suspended", error=str(error) or type(error).__name__)
            self._is_away = True
            return [True] * len(questions)
        if self._is_away:
            log.warning("rate_limits_resumed")
        self._is_away = False
        now = asyncio.get_running_loop().time()
        admitted = []
        for question, answer in zip(questions, answers, strict=True):
            question.of.learn(answer if answer != _NOTHING_LEFT else question.of.limited.limit.amount, now)
            admitted.append(answer != _NOTHING_LEFT)
        return admitted

    async def _ask_redis(self, questions: Sequence[_Question]) -> list[int]:
        async with self._redis.pipeline(transaction=False) as pipeline:
            for these in batched(questions, self._at_once):
                keys = [key for question in these for key in self._keys(question.of)]
                values = [value for question in these for value in question.arguments()]
                pipeline.execute_command("EVALSHA", self._script.sha, len(keys), *keys, *values)
            return [answer for answers in await pipeline.execute() for answer in answers]

    def _keys(self, count: WriteCount) -> tuple[str, str]:
        key = count.limited.limit.key_for(count.limited.subject, count.name)
        previous, current = self._previous_window_key(key), self._current_window_key(key)
        return self.bridge.prefixed_key(previous), self.bridge.prefixed_key(current)
