"""How often a rater and an address may write: counted in Redis, for all processes of score_maker together.

Who has used less than half of a limit may go on at once and is counted behind; nearer to it, Redis is waited for. So a
write waits for Redis only where the answer may matter, and a limit is exceeded by no more than what other processes
have admitted in the few milliseconds before that was counted.

Without Redis nothing is limited, since a rating is worth more than a limit: a question to it takes a fraction of a
second at most, and after one that failed there are none for a while.
"""

import asyncio
import math
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from ipaddress import IPv6Address, ip_address
from itertools import islice
from types import TracebackType
from typing import Literal, NamedTuple, Self

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

# Of how many raters and addresses what is asked of Redis is kept, and need not be made up again.
_REMEMBERED = 10_000


@dataclass(frozen=True, slots=True)
class Exceeded:
    """The limit that stands in the way, whose it is, and the seconds after which it is worth another try."""

    limit: RateLimitItem
    subject: Subject
    retry_after: int


class RateLimits:
    """Each limit may be None, which is none. `redis` should answer or fail within TIMEOUT_SECONDS.

    An async context manager; leaving it waits until all is counted.
    """

    def __init__(self, redis: RedisClient, *, rater: RateLimitItem | None, address: RateLimitItem | None) -> None:
        self._counters = _Counters(redis)
        self._limiter = SlidingWindowCounterRateLimiter(self._counters)
        self._of_rater = self._counters.of("rater", rater) if rater is not None else None
        self._of_address = self._counters.of("address", address) if address is not None else None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, error_type: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.until_counted()

    async def until_counted(self) -> None:
        """Returns once Redis has counted what was admitted before."""
        await self._counters.until_counted()

    async def hit(self, *, address: str | None, rater: str | None) -> Exceeded | None:
        """Counts a write; answers with the limit that it exceeds, None where it may go on. Never raises.

        A write that one limit refuses may still count against the other.
        """
        counters: list[_Counter] = []
        if self._of_rater is not None and rater is not None:
            counters.append(self._of_rater(rater))
        if self._of_address is not None and address is not None:
            counters.append(self._of_address(host_of(address)))
        if not counters:
            return None
        for counter, may_go_on in zip(counters, await self._counters.hit(counters), strict=True):
            if not may_go_on:
                return Exceeded(counter.limit, counter.subject, await self._retry_after(counter))
        return None

    async def _retry_after(self, counter: "_Counter") -> int:
        try:
            stats = await self._limiter.get_window_stats(counter.limit, counter.subject, counter.name)
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
class _Counter:
    """Of one limit and one rater or address, with what is known here of how much of the limit is used."""

    subject: Subject
    limit: RateLimitItem
    name: str
    keys: tuple[bytes, bytes]
    used: int = 0
    known_until: float = 0

    def is_far_from_limit(self, now: float) -> bool:
        if now > self.known_until:
            self._know(0, now)
        return 2 * (self.used + 1) <= self.limit.amount

    def learn(self, answer: int, behind: int, now: float) -> bool:
        """From the script, which answers with what is used by now, or that nothing was left: then this is False.

        `behind` are those whom it has not counted yet.
        """
        self._know(behind + (answer if answer != _NOTHING_LEFT else self.limit.amount), now)
        return answer != _NOTHING_LEFT

    def _know(self, used: int, now: float) -> None:
        self.used = used
        self.known_until = now + self.limit.get_expiry()


@dataclass(eq=False, slots=True)
class _Hit:
    """A write that waits for what Redis says of its counters."""

    counters: Sequence[_Counter]
    admitted: asyncio.Future[list[bool]] = field(default_factory=lambda: asyncio.get_running_loop().create_future())


class _Question(NamedTuple):
    counter: _Counter
    hits: int
    up_to: int

    def arguments(self) -> tuple[bytes, bytes, bytes]:
        # In bytes, which the client need not encode.
        return b"%d" % self.up_to, b"%d" % self.counter.limit.get_expiry(), b"%d" % self.hits


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
        self._sha = self._script.sha.encode()
        self._behind: Counter[_Counter] = Counter()
        self._waiting: list[_Hit] = []
        self._asking: asyncio.Task[None] | None = None
        self._ask_again_at = -math.inf
        self._is_away = False

    def configure_bridge(self) -> None:
        """Has the library ask by our client, which may be a cluster's."""
        self.bridge.connection_getter = lambda _: self._redis  # type: ignore[attr-defined]

    def of(self, subject: Subject, limit: RateLimitItem) -> Callable[[str], _Counter]:
        """The counter of whoever is named; of those who were not seen for long, what was known is forgotten."""

        @lru_cache(maxsize=_REMEMBERED)
        def counter(name: str) -> _Counter:
            key = limit.key_for(subject, name)
            previous = self.bridge.prefixed_key(self._previous_window_key(key)).encode()
            current = self.bridge.prefixed_key(self._current_window_key(key)).encode()
            return _Counter(subject, limit, name, (previous, current))

        return counter

    async def hit(self, counters: Sequence[_Counter]) -> list[bool]:
        """Whether each of them admits one more; all do while Redis is away."""
        now = asyncio.get_running_loop().time()
        if now < self._ask_again_at:
            return [True] * len(counters)
        if all(counter.is_far_from_limit(now) for counter in counters):
            for counter in counters:
                counter.used += 1
                self._behind[counter] += 1
            self._ask()
            return [True] * len(counters)
        hit = _Hit(counters)
        self._waiting.append(hit)
        self._ask()
        return await hit.admitted

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
                behind, self._behind = self._behind, Counter()
                hits, self._waiting = self._waiting, []
                # First what was admitted before, so that those who wait are told of it.
                questions = [
                    _Question(counter, hits_behind, _WHATEVER_IS_USED) for counter, hits_behind in behind.items()
                ]
                questions += [_Question(counter, 1, counter.limit.amount) for hit in hits for counter in hit.counters]
                admitted = iter((await self._ask_or_admit(questions))[len(behind) :])
                for hit in hits:
                    each = list(islice(admitted, len(hit.counters)))
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
        return [
            question.counter.learn(answer, self._behind.get(question.counter, 0), now)
            for question, answer in zip(questions, answers, strict=True)
        ]

    async def _ask_redis(self, questions: Sequence[_Question]) -> list[int]:
        async with self._redis.pipeline(transaction=False) as pipeline:
            for start in range(0, len(questions), self._at_once):
                these = questions[start : start + self._at_once]
                keys = [key for question in these for key in question.counter.keys]
                values = [value for question in these for value in question.arguments()]
                pipeline.execute_command("EVALSHA", self._sha, b"%d" % len(keys), *keys, *values)
            return [answer for answers in await pipeline.execute() for answer in answers]
