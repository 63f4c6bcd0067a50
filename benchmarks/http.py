"""What score_maker makes of HTTP beside the framework alone, and beside its database alone.

All serve the same, taking turns, each from one process on the same machine as the load. Ratings are taken twice: with
arq_worker stopped, which is score_maker and its database alone, and while arq_worker and line_provider work through
them on the same processors.
"""

import asyncio
import math
import re
import secrets
import statistics
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from urllib.request import urlopen

from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine

from benchmarks import load, wrk
from benchmarks.drain import open_events
from benchmarks.looking import processor_seconds
from devstack.addresses import Address
from devstack.postgres import binaries
from devstack.processes import Process
from devstack.system import MANY_RATERS, System

_INSERTS = """
\\set event random(1, 50)
\\set value random(1, 5)
BEGIN;
INSERT INTO scores (event_id, rater_id, value, version, state, accepted_at)
VALUES (:event, uuidv7(), :value, 1, 'pending', now()) RETURNING rater_id \\gset
INSERT INTO scores_outbox (event_id, rater_id, value, version, accepted_at)
VALUES (:event, :rater_id, :value, 1, now());
COMMIT;
"""


@dataclass(frozen=True, slots=True)
class Figures:
    """Medians over the rounds; p50 and p99 in milliseconds."""

    per_second: float
    p50: float
    p99: float
    cpu_microseconds: float

    @classmethod
    def median(cls, each: Sequence["Figures"]) -> "Figures":
        return cls(*(statistics.median(getattr(figures, field.name) for figures in each) for field in fields(cls)))


Measuring = Callable[[], Awaitable[Figures]]

NOOP = "no-op"
SCORE_MAKER = "score_maker"
PGBENCH = "pgbench"

GET_EVENTS = "GET /events"
POST_SCORE = "POST …/score, nothing relayed"
POST_SCORE_RELAYED = "POST …/score, relayed meanwhile"


async def measure(data: Path, *, rounds: int, seconds: float) -> dict[str, dict[str, Figures]]:
    """The figures of each server, by the requests that it was sent."""
    secret = secrets.token_hex(32)
    settings = {**MANY_RATERS, "SCORE_MAKER_SECRET_KEY": secret}
    noop_address = Address.free()
    noop = Process(
        NOOP,
        [sys.executable, "-m", "benchmarks.noop", str(noop_address.port)],
        state=data,
        folder=Path.cwd(),
        is_ready=lambda: asyncio.to_thread(_answers, f"http://{noop_address}/events"),
    )
    tokens = load.tokens(data / "tokens", secret)
    async with System(data, settings=settings) as system, noop:
        events = await asyncio.to_thread(open_events, system)
        script = data / "load.lua"

        def requests_to(process: Process, url: str, requests: Callable[[], str]) -> Measuring:
            return lambda: _requests(process, url, script, requests(), seconds=seconds)

        def both(requests: Callable[[], str]) -> dict[str, Measuring]:
            return {
                NOOP: requests_to(noop, f"http://{noop_address}", requests),
                SCORE_MAKER: requests_to(system.score_maker, system.http_url, requests),
            }

        def rate() -> str:
            return load.rate(tokens, events)

        await system.arq_worker.stop()
        results = {GET_EVENTS: await _in_turns(both(lambda: load.LIST_EVENTS), rounds)}
        inserts = {PGBENCH: lambda: _inserts(system.score_maker_database_url, data / "inserts.sql", seconds=seconds)}
        results[POST_SCORE] = await _in_turns(both(rate) | inserts, rounds)
        await _forget_ratings(system.score_maker_database_url)
        await system.arq_worker.start()
        results[POST_SCORE_RELAYED] = await _in_turns(both(rate), rounds)
    return results


async def _in_turns(servers: Mapping[str, Measuring], rounds: int) -> dict[str, Figures]:
    measured: dict[str, list[Figures]] = {name: [] for name in servers}
    for _ in range(rounds):
        for name, measuring in servers.items():
            measured[name].append(await measuring())
    return {name: Figures.median(each) for name, each in measured.items()}


async def _requests(process: Process, url: str, script: Path, requests: str, *, seconds: float) -> Figures:
    before = processor_seconds(process)
    counted = await wrk.run(url, script, requests, seconds=seconds)
    cpu = (processor_seconds(process) - before) / (counted.per_second * seconds)
    return Figures(counted.per_second, counted.p50, counted.p99, cpu * 1e6)


async def _inserts(database_url: str, script: Path, *, seconds: float) -> Figures:
    """The two inserts of a rating, in a transaction of their own, from as many clients."""
    await asyncio.to_thread(script.write_text, _INSERTS)
    url = database_url.replace("+asyncpg", "")
    pgbench = await asyncio.create_subprocess_exec(
        *(
            binaries() / "pgbench",
            "--no-vacuum",
            "--protocol=prepared",
            f"--file={script}",
            f"--client={wrk.CONNECTIONS}",
        ),
        *(f"--time={seconds:.0f}", url),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    told, _ = await pgbench.communicate()
    figures = re.search(r"latency average = ([\d.]+) ms.*tps = ([\d.]+)", told.decode(), re.DOTALL)
    if pgbench.returncode or figures is None:
        raise RuntimeError(f"pgbench failed: {told.decode()}")
    # It tells no percentiles; the average stands for the median.
    return Figures(float(figures[2]), float(figures[1]), math.nan, math.nan)


async def _forget_ratings(database_url: str) -> None:
    engine = create_async_engine(database_url)
    async with engine.begin() as connection:
        await connection.execute(text("TRUNCATE scores, scores_outbox"))
    await engine.dispose()


def _answers(url: str) -> bool:
    try:
        with urlopen(url, timeout=1):
            return True
    except OSError:
        return False
