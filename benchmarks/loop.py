"""The whole way of ratings, as raters see it: how many are confirmed per second, how soon, and how many wait.

The latency of a rating runs from the transaction that accepts it to the commit that confirms it, by the clock and the
commit timestamps of one database; it is measured for every rating, not for a sample. Beside it, in the same run, stands
the floor: the two commits and the one RPC of one rating, without anything else, one after the other.
"""

import asyncio
import secrets
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import cycle, islice
from pathlib import Path

from httpx import AsyncClient
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from arq_worker.batch_trace import BatchTrace
from arq_worker.line_provider_client import LineProviderClient
from benchmarks import load, wrk
from benchmarks.drain import open_events
from benchmarks.process_stats import memory_mebibytes
from devstack.environment import MANY_RATERS
from devstack.system import System
from score_maker.identity.anonymous import RaterTokens, new_rater_id
from score_maker.ratings import accept
from score_maker.ratings.accept import Submission
from score_maker.saga import outbox, settlement
from scoreline_common.database import autocommit, create_engine
from scoreline_common.line_provider_channel import open_channel

ONE_BY_ONE = 500


@dataclass(frozen=True, slots=True)
class Latency:
    """Percentiles in milliseconds."""

    p50: float
    p99: float

    @classmethod
    def of(cls, seconds: Sequence[float]) -> "Latency":
        hundredths = statistics.quantiles(seconds, n=100)
        return cls(hundredths[49] * 1e3, hundredths[98] * 1e3)


@dataclass(frozen=True, slots=True)
class UnderLoad:
    """Ratings accepted per second, how many of them were not settled when the load ended, and the latency of all."""

    per_second: float
    unsettled: int
    latency: Latency


@dataclass(frozen=True, slots=True, kw_only=True)
class Loop:
    """`memory` is that of each process at the end, in MiB."""

    floor: Latency
    idle: Latency
    full: UnderLoad
    half: UnderLoad
    four_fifths: UnderLoad
    memory: dict[str, float]


class _Raters:
    def __init__(self, system: System, engine: AsyncEngine, data: Path, secret: str, *, seconds: float) -> None:
        self._system = system
        self._engine = engine
        self._script = data / "load.lua"
        self._tokens = load.tokens(data / "tokens", secret)
        self._mint = RaterTokens(secret).mint
        self._events = open_events(system)
        self._seconds = seconds

    async def rate(self, *, per_second: float | None = None) -> UnderLoad:
        """Sends as many ratings as the system accepts, or about `per_second`."""
        pause = await self._pause_for(per_second) if per_second else 0
        began = await self._now()
        counted = await self._send(pause, seconds=self._seconds)
        unsettled = await self._unsettled()
        return UnderLoad(counted.per_second, unsettled, await self._latency(began))

    async def _pause_for(self, per_second: float) -> float:
        """The milliseconds that each connection must wait before a request, so that all send `per_second`."""
        pause = 0.0
        for _ in range(2):
            answered = await self._send(pause, seconds=self._seconds / 4)
            # The time that a connection needs for a request besides its pause.
            spent = wrk.CONNECTIONS / answered.per_second * 1e3 - pause
            pause = max(0, wrk.CONNECTIONS / per_second * 1e3 - spent)
        return pause

    async def _send(self, pause: float, *, seconds: float) -> wrk.Load:
        requests = load.rate(self._tokens, self._events, pause=pause)
        return await wrk.run(self._system.http_url, self._script, requests, seconds=seconds)

    async def rate_one_by_one(self) -> Latency:
        """Sends each rating after the one before was confirmed, while nothing else loads the system."""
        began = await self._now()
        async with AsyncClient(base_url=self._system.http_url) as client:
            for event_id in islice(cycle(self._events), ONE_BY_ONE):
                headers = {"Authorization": f"Bearer {self._mint().token}", "Prefer": "wait=10"}
                rated = await client.post(f"/events/{event_id}/score", json={"score": 3}, headers=headers)
                rated.raise_for_status()
        return await self._latency(began)

    async def floor(self) -> Latency:
        """Measures the two commits and the RPC without anything around them. The worker must be stopped."""
        system, latencies = self._system, []
        engine = create_engine(system.score_maker_database_url, pool_size=1)
        deadline = datetime.now(UTC) + timedelta(days=1)
        async with LineProviderClient(
            open_channel(system.grpc_address), system.worker_token, timedelta(seconds=10)
        ) as line_provider:
            for event_id in islice(cycle(self._events), ONE_BY_ONE):
                began = time.perf_counter()
                async with autocommit(engine) as connection:
                    submission = Submission(event_id=event_id, rater_id=new_rater_id(), value=3, deadline=deadline)
                    await accept.submit(connection, [submission])
                accepting = time.perf_counter() - began
                async with autocommit(engine) as connection:
                    claim = await outbox.claim(connection, limit=1, lease=timedelta(minutes=1))
                began = time.perf_counter()
                decisions = await line_provider.apply(claim.messages, BatchTrace(claim.messages))
                async with engine.begin() as connection:
                    await settlement.settle_decided(connection, claim.lease_token, decisions)
                latencies.append(accepting + time.perf_counter() - began)
        await engine.dispose()
        return Latency.of(latencies)

    async def _latency(self, since: datetime) -> Latency:
        while await self._unsettled():
            await asyncio.sleep(0.1)
        async with self._engine.connect() as connection:
            return Latency.of([float(each) for each in await connection.scalars(_LATENCIES, {"since": since})])

    async def _unsettled(self) -> int:
        async with self._engine.connect() as connection:
            return int(await connection.scalar(text("SELECT count(*) FROM scores_outbox")) or 0)

    async def _now(self) -> datetime:
        async with self._engine.connect() as connection:
            now: datetime = (await connection.execute(text("SELECT now()"))).scalar_one()
        return now


_LATENCIES = text("""
    SELECT extract(epoch FROM pg_xact_commit_timestamp(xmin) - accepted_at)
    FROM scores
    WHERE accepted_at >= :since AND state = 'confirmed'
""")


async def measure(data: Path, *, seconds: float) -> Loop:
    secret = secrets.token_hex(32)
    settings = {**MANY_RATERS, "SCORE_MAKER_SECRET_KEY": secret}
    async with System(data, settings=settings) as system:
        await _keep_commit_timestamps(system)
        engine = create_async_engine(system.score_maker_database_url)
        raters = _Raters(system, engine, data, secret, seconds=seconds)
        # In its first seconds a new system is slower than later.
        await raters.rate()
        await system.arq_worker.stop()
        floor = await raters.floor()
        await system.arq_worker.start()
        idle = await raters.rate_one_by_one()
        full = await raters.rate()
        half = await raters.rate(per_second=full.per_second / 2)
        four_fifths = await raters.rate(per_second=full.per_second * 0.8)
        memory = {process.name: memory_mebibytes(process) for process in system.processes}
        await engine.dispose()
    return Loop(floor=floor, idle=idle, full=full, half=half, four_fifths=four_fifths, memory=memory)


async def _keep_commit_timestamps(system: System) -> None:
    await system.score_maker_postgres.alter_system({"track_commit_timestamp": "on"})
    # The server reads this setting only when it starts.
    await asyncio.gather(system.score_maker.stop(), system.arq_worker.stop())
    await system.score_maker_postgres.stop()
    await system.score_maker_postgres.start()
    await asyncio.gather(system.score_maker.start(), system.arq_worker.start())
