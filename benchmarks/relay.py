"""How fast ratings get from the outbox to line_provider and back, beside other ways to do that.

Measured in turns, on the same servers: arq_worker; an arq job with its own RPC for each rating; and libraries that
implement an outbox, which drain as many rows into a handler that does nothing.
"""

import asyncio
import itertools
import sys
from functools import partial
from pathlib import Path

from arq_worker.settings import Settings
from benchmarks.drain import Drain, fill
from benchmarks.outbox_libraries import LIBRARIES
from benchmarks.rounds import in_turns
from devstack.system import System

ROWS = 40_000
# One job for each rating is too slow for more in reasonable time.
JOBS = 2_000

# Ratings that arq_worker sends in one call.
BATCH: int = Settings.model_fields["batch_size"].default

RELAY = "arq_worker"
ONE_JOB_EACH = "one job and one RPC per rating"


async def measure(data: Path, *, rounds: int) -> dict[str, list[float]]:
    """Ratings or rows per second, by name, one for each round."""
    drain = Drain(data)
    async with drain.system as system:
        libraries = {f"{library}, into nothing": partial(_library, system, library) for library in LIBRARIES}
        ours = {RELAY: partial(_relay, drain), ONE_JOB_EACH: partial(_one_job_each, system)}
        return await in_turns(ours | libraries, rounds)


async def _relay(drain: Drain) -> float:
    await drain.fill(ROWS)
    (whole,) = await drain.measure(ROWS)
    # The others must have the processors, and the outbox, for themselves.
    await drain.system.arq_worker.stop()
    return whole.per_second


async def _one_job_each(system: System) -> float:
    await system.arq_worker.stop()
    await fill(system, JOBS)
    return await _run(
        "benchmarks.one_job_each",
        *(system.arq_worker_database_url, system.valkey.url, system.grpc_address, system.worker_token),
    )


_database_numbers = itertools.count()


async def _library(system: System, library: str) -> float:
    await system.arq_worker.stop()
    # Each library creates its own tables, so each measurement gets a new database.
    name = f"{library}_{next(_database_numbers)}"
    url = await system.score_maker_postgres.create_database(name, owner=name, password=name)
    return await _run("benchmarks.outbox_libraries", library, url, str(ROWS))


async def _run(module: str, *arguments: str) -> float:
    """Runs the module, which prints one figure."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", module, *arguments), stdout=asyncio.subprocess.PIPE
    )
    output, _ = await process.communicate()
    if process.returncode:
        raise RuntimeError(f"{module} failed")
    return float(output)
