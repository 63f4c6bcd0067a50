"""The nemesis deals faults, several at a time, in an order that its seed decides."""

import asyncio
import random
from collections import Counter, defaultdict, deque
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import datetime

import asyncpg
from redis.exceptions import RedisError

from tests.torture.events import now
from tests.torture.faults import Fault, NoOccasion, Theatre

# The shortest and the longest pause between two faults, as shares of the mean.
_PAUSES = (0.3, 1.7)
# How many faults may be in progress at once.
_AT_ONCE = 3
_TRIES = 5


@dataclass(slots=True)
class Deeds:
    """Completed faults by name, those that found no occasion, and the order in which all of them began."""

    done: Counter[str] = field(default_factory=Counter)
    idle: Counter[str] = field(default_factory=Counter)
    story: list[tuple[datetime, str]] = field(default_factory=list)


class Nemesis:
    """Deals faults like cards: each kind comes once before any comes again. One without an occasion is dealt again."""

    def __init__(
        self, theatre: Theatre, faults: Sequence[Fault], rng: random.Random, *, faults_a_minute: float
    ) -> None:
        self.deeds = Deeds()
        self._mean_pause_seconds = 60 / faults_a_minute
        self._theatre = theatre
        self._faults = faults
        self._rng = rng
        self._deck: deque[Fault] = deque()
        self._rounds = 0
        self._missed: Counter[str] = Counter()
        self._targets: dict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._turn = asyncio.Semaphore(_AT_ONCE)

    async def rage(self, seconds: float) -> None:
        """Deals faults for so many seconds, and until each kind has been tried. Returns when the last one is over."""
        if not self._faults:
            await asyncio.sleep(seconds)
            return
        loop = asyncio.get_running_loop()
        end = loop.time() + seconds
        async with asyncio.TaskGroup() as group:
            while fault := self._next(time_is_up=loop.time() >= end):
                await self._turn.acquire()
                # The numbers of a fault are drawn here, so that they do not depend on what happens meanwhile.
                group.create_task(self._inflict(fault, random.Random(self._rng.random())))
                await asyncio.sleep(self._mean_pause_seconds * self._rng.uniform(*_PAUSES))

    def _next(self, *, time_is_up: bool) -> Fault | None:
        if time_is_up and (self._rounds > 1 or (self._rounds == 1 and not self._deck)):
            return None
        if not self._deck:
            self._deck.extend(self._rng.sample(self._faults, len(self._faults)))
            self._rounds += 1
        return self._deck.popleft()

    async def _inflict(self, fault: Fault, rng: random.Random) -> None:
        try:
            async with AsyncExitStack() as stack:
                # All faults lock their targets in the same order, so that no two deadlock.
                for target in sorted(fault.targets):
                    await stack.enter_async_context(self._targets[target])
                self.deeds.story.append((now(), fault.name))
                await fault.inflict(self._theatre, rng)
            self.deeds.done[fault.name] += 1
        except (NoOccasion, OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError, RedisError) as error:
            # Another fault has taken what this one needs: a database to query, a batch to wait for.
            self.deeds.idle[f"{fault.name}: {type(error).__name__}"] += 1
            self._missed[fault.name] += 1
            if self._rounds == 1 and self._missed[fault.name] < _TRIES:
                self._deck.append(fault)
        finally:
            self._turn.release()
