"""score_maker's HTTP beside what bounds it: the framework, the server below it, and its database.

All answer the same requests, in turns, each from one process on the machine that also makes the load. Ratings are
measured twice: with arq_worker stopped, which is score_maker and its database alone, and while arq_worker and
line_provider relay and settle them on the same processors.
"""

import asyncio
import math
import re
import secrets
import sys
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from urllib.request import urlopen

from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine

from benchmarks import load, wrk
from benchmarks.drain import open_events
from benchmarks.process_stats import processor_seconds
from benchmarks.rounds import in_turns
from devstack.addresses import Address
from devstack.environment import MANY_RATERS
from devstack.postgres import binaries
from devstack.processes import Process
from devstack.system import System

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


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """One measurement: answers per second, percentiles of the latency in milliseconds, and the processor time per
    answer in microseconds. NaN where a figure is not measured."""

    per_second: float
    p50: float
    p99: float
    cpu_microseconds: float


SCORE_MAKER = "score_maker"
NOOP = "no-op"
RAW_ASGI = "raw ASGI"
PGBENCH = "pgbench"

GET_EVENTS = "GET /events"
POST_SCORE = "POST …/score, nothing relayed"
POST_SCORE_RELAYED = "POST …/score, relayed meanwhile"

# The modules of the servers that score_maker is compared with.
_ANCHORS = {NOOP: "benchmarks.noop", RAW_ASGI: "benchmarks.raw_asgi"}


async def measure(data: Path, *, rounds: int, seconds: float) -> dict[str, dict[str, list[Figures]]]:
    """The figures of each round, by the requests and by the server that answered them."""
    secret = secrets.token_hex(32)
    settings = {**MANY_RATERS, "SCORE_MAKER_SECRET_KEY": secret}
    tokens = load.tokens(data / "tokens", secret)
    async with AsyncExitStack() as stack:
        system = await stack.enter_async_context(System(data, settings=settings))
        servers = {SCORE_MAKER: (system.score_maker, system.http_url)}
        for name, module in _ANCHORS.items():
            anchor, url = _anchor(name, module, data)
            servers[name] = (await stack.enter_async_context(anchor), url)
        events = await asyncio.to_thread(open_events, system)
        script = data / "load.lua"

        def each_server(requests: Callable[[], str]) -> dict[str, Callable[[], Awaitable[Figures]]]:
            def measuring(process: Process, url: str) -> Callable[[], Awaitable[Figures]]:
                return lambda: _requests(process, url, script, requests(), seconds=seconds)

            return {name: measuring(process, url) for name, (process, url) in servers.items()}

        def ratings() -> str:
            return load.rate(tokens, events)

        await system.arq_worker.stop()
        results = {GET_EVENTS: await in_turns(each_server(lambda: load.LIST_EVENTS), rounds)}
        inserts = {PGBENCH: lambda: _inserts(system.score_maker_database_url, data / "inserts.sql", seconds=seconds)}
        results[POST_SCORE] = await in_turns(each_server(ratings) | inserts, rounds)
        await _delete_ratings(system.score_maker_database_url)
        await system.arq_worker.start()
        results[POST_SCORE_RELAYED] = await in_turns(each_server(ratings), rounds)
    return results


def _anchor(name: str, module: str, data: Path) -> tuple[Process, str]:
    url = f"http://{(address := Address.free())}"
    process = Process(
        name,
        [sys.executable, "-m", module, str(address.port)],
        state=data,
        folder=Path.cwd(),
        is_ready=lambda: asyncio.to_thread(_answers, f"{url}/events"),
    )
    return process, url


async def _requests(process: Process, url: str, script: Path, requests: str, *, seconds: float) -> Figures:
    before = processor_seconds(process)
    counted = await wrk.run(url, script, requests, seconds=seconds)
    cpu = (processor_seconds(process) - before) / counted.requests
    return Figures(per_second=counted.per_second, p50=counted.p50, p99=counted.p99, cpu_microseconds=cpu * 1e6)


async def _inserts(database_url: str, script: Path, *, seconds: float) -> Figures:
    """The two inserts of a rating in a transaction, sent by pgbench from as many clients as wrk has connections."""
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
    output, _ = await pgbench.communicate()
    figures = re.search(r"tps = ([\d.]+)", output.decode())
    if pgbench.returncode or figures is None:
        raise RuntimeError(f"pgbench failed: {output.decode()}")
    # pgbench reports no percentiles.
    return Figures(per_second=float(figures[1]), p50=math.nan, p99=math.nan, cpu_microseconds=math.nan)


async def _delete_ratings(database_url: str) -> None:
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
