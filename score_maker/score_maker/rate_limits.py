"""How often a rater and an address may write: counted in Redis, for all processes of score_maker together.

Without Redis nothing is limited, since a rating is worth more than a limit: a question to it takes a fraction of a
second at most, and after one that failed there are none for a while.
"""

import asyncio
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from ipaddress import IPv6Address, ip_address
from itertools import islice
from typing import Literal

import structlog
from limits import RateLimitItem
from limits.aio.storage import RedisStorage
from limits.aio.strategies import SlidingWindowCounterRateLimiter
from redis.exceptions import NoScriptError

from score_maker.redis_connection import UNREACHABLE, RedisClient, register_script

log = structlog.get_logger(__name__)

# A Redis that is slower than this counts as away; for the pause after it, every request is admitted without asking.
TIMEOUT_SECONDS = 0.25
PAUSE_SECONDS = 2.0

Subject = Literal["rater", "address"]


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
        limits: list[tuple[Subject, RateLimitItem, str]] = []
        if self._rater is not None and rater is not None:
            limits.append(("rater", self._rater, rater))
        if self._address is not None and address is not None:
            limits.append(("address", self._address, host_of(address)))
        if not limits:
            return None
        admitted = await self._counters.hit([(limit, limit.key_for(subject, name)) for subject, limit, name in limits])
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
    """The arguments of the script, for each of the limits of a write."""

    arguments: list[tuple[bytes, ...]]
    admitted: asyncio.Future[list[bool]] = field(default_factory=lambda: asyncio.get_running_loop().create_future())


class _Counters(RedisStorage):
    """The library's counters and its script, asked by one pipeline for all who come while it is asked for others."""

    def __init__(self, redis: RedisClient) -> None:
        self._redis = redis
        super().__init__("redis://", implementation="redispy", key_prefix="scoreline:rate")
        self._script = register_script(redis, self.bridge.SCRIPT_ACQUIRE_SLIDING_WINDOW)
        self._sha = self._script.sha.encode()
        self._waiting: list[_Hit] = []
        self._asking: asyncio.Task[None] | None = None
        self._ask_again_at = -math.inf
        self._is_away = False

    def configure_bridge(self) -> None:
        """Has the library ask by our client, which may be a cluster's."""
        self.bridge.connection_getter = lambda _: self._redis  # type: ignore[attr-defined]

    async def hit(self, limits: Sequence[tuple[RateLimitItem, str]]) -> list[bool]:
        """Whether each of the limits, with its key, admits one more; all do while Redis is away."""
        if asyncio.get_running_loop().time() < self._ask_again_at:
            return [True] * len(limits)
        hit = _Hit([self._arguments(limit, key) for limit, key in limits])
        self._waiting.append(hit)
        if self._asking is None:
            self._asking = asyncio.create_task(self._ask_while_any_wait(), name="rate-limits")
        return await hit.admitted

    def _arguments(self, limit: RateLimitItem, key: str) -> tuple[bytes, ...]:
        # In bytes, which the client need not encode.
        previous = self.bridge.prefixed_key(self._previous_window_key(key)).encode()
        current = self.bridge.prefixed_key(self._current_window_key(key)).encode()
        return previous, current, b"%d" % limit.amount, b"%d" % limit.get_expiry(), b"1"

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

    async def _ask_or_admit(self, arguments: Sequence[tuple[bytes, ...]]) -> list[bool]:
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

    async def _ask(self, arguments: Sequence[tuple[bytes, ...]]) -> list[bool]:
        async with self._redis.pipeline(transaction=False) as pipeline:
            for each in arguments:
                pipeline.execute_command("EVALSHA", self._sha, b"2", *each)
            return [bool(answer) for answer in await pipeline.execute()]
