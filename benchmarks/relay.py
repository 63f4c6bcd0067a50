"""How fast ratings get from the outbox to line_provider and back, beside the other ways to do that.

In turns, from the same servers: arq_worker; an arq job with an RPC of its own for each rating; and the outbox libraries
that one would take instead, which drain as many rows into a handler that does nothing.
"""

import asyncio
import statistics
import sys
from pathlib import Path

from arq_worker.settings import Settings
from benchmarks.drain import Drain, fill
from benchmarks.outbox_libraries import LIBRARIES

ROWS = 40_000
# The straightforward way is too slow for more.
JOBS = 2_000

# Ratings that arq_worker sends at once.
BATCH: int = Settings.model_fields["batch_size"].default

RELAY = "arq_worker"
ONE_JOB_EACH = "one job and one RPC per rating"


async def measure(data: Path, *, rounds: int) -> dict[str, float]:
    """Ratings or rows a second, the median of the rounds."""
    drain = Drain(data)
    paces: dict[str, list[float]] = {}
    async with drain.system as system:
        for nth in range(rounds):
            await drain.fill(ROWS)
            (whole,) = await drain.measure(ROWS)
            paces.setdefault(RELAY, []).append(whole.per_second)
            await system.arq_worker.stop()
            await fill(system, JOBS)
            paces.setdefault(ONE_JOB_EACH, []).append(
                await _run(
                    "benchmarks.one_job_each",
                    *(system.arq_worker_database_url, system.valkey.url, system.grpc_address, system.worker_token),
                )
            )
            for library in LIBRARIES:
                name = f"{library}_{nth}"
                url = await system.score_maker_postgres.create_database(name, owner=name, password=name)
                pace = await _run("benchmarks.outbox_libraries", library, url, str(ROWS))
                paces.setdefault(f"{library}, into nothing", []).append(pace)
    return {name: statistics.median(measured) for name, measured in paces.items()}


async def _run(module: str, *arguments: str) -> float:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", module, *arguments), stdout=asyncio.subprocess.PIPE
    )
    told, _ = await process.communicate()
    if process.returncode:
        raise RuntimeError(f"{module} failed")
    return float(told)
