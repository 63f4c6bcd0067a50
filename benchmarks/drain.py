"""How fast the outbox drains, and whether that depends on how full it is: `make drain ROWS=1000000`.

The worker is away while ratings come in, and then comes back. What it settles per second is shown for each tenth of
the backlog, beside the same worker's pace through a small one, before and after, in the same run.
"""

import argparse
import asyncio
import itertools
import json
import shutil
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import psutil
import uvloop
from sqlalchemy.ext.asyncio import create_async_engine

from benchmarks.looking import processor_seconds, total
from devstack.addresses import Address
from devstack.system import System
from score_maker.identity.anonymous import new_rater_id
from score_maker.ratings import accept
from score_maker.ratings.accept import Submission

SMALL_BACKLOG = 50_000
TENTHS = 10
GROUP = 1_000
POLL_SECONDS = 0.1


@dataclass(frozen=True, slots=True)
class Stretch:
    """A part of a drain: what was left at its end, ratings settled per second, and of the worker the processor time
    that each took (µs) and its memory (MiB)."""

    left: int
    per_second: float
    processor: float
    memory: float


class Drain:
    """A system whose worker can be asked how much it has settled."""

    def __init__(self, data: Path, **options: Any) -> None:
        self._metrics = Address.free()
        settings = {"ARQ_WORKER_METRICS_PORT": str(self._metrics.port)}
        self.system = System(data, settings=settings, **options)

    async def fill(self, backlog: int, of_events: Sequence[int] = ()) -> float:
        """Sends the worker away and has so many ratings accepted; answers with how many that were a second."""
        await self.system.arq_worker.stop()
        return await fill(self.system, backlog, of_events)

    async def measure(self, backlog: int, *, stretches: int = 1) -> list[Stretch]:
        """Has the worker drain what was filled in."""
        worker = self.system.arq_worker
        await worker.start()
        # Its start is not its pace.
        done = await self._until_settled(1)
        began, used, result = time.monotonic(), processor_seconds(worker), []
        for goal in (backlog * stretch // stretches for stretch in range(1, stretches + 1)):
            before, done = done, await self._until_settled(goal)
            now, used_by_now = time.monotonic(), processor_seconds(worker)
            ratings, memory = done - before, psutil.Process(worker.pid).memory_info().rss / 2**20
            result.append(
                Stretch(backlog - done, ratings / (now - began), (used_by_now - used) / ratings * 1e6, memory)
            )
            began, used = now, used_by_now
        return result

    async def _until_settled(self, goal: int) -> int:
        while (settled := await asyncio.to_thread(self._settled)) < goal:
            await asyncio.sleep(POLL_SECONDS)
        return settled

    def _settled(self) -> int:
        try:
            return total(self._metrics, "scoreline_settled_total")
        except OSError:
            return 0


async def fill(system: System, ratings: int, of_events: Sequence[int] = ()) -> float:
    """Accepts ratings as score_maker does, each of somebody new, spread over these events or those that can be rated.

    Answers with how many that were a second.
    """
    engine = create_async_engine(system.score_maker_database_url)
    events = itertools.cycle(of_events or await asyncio.to_thread(open_events, system))
    deadline = datetime.now(UTC) + timedelta(days=1)
    began = time.perf_counter()
    for start in range(0, ratings, GROUP):
        size = min(GROUP, ratings - start)
        group = [Submission(next(events), new_rater_id(), 1 + nth % 5, deadline) for nth in range(size)]
        async with engine.begin() as connection:
            await accept.submit(connection, group)
    per_second = ratings / (time.perf_counter() - began)
    await engine.dispose()
    return per_second


def open_events(system: System) -> list[int]:
    """The first of those that can be rated."""
    with urlopen(f"{system.http_url}/events?phase=open&limit=50", timeout=5) as response:
        return [event["event_id"] for event in json.load(response)["events"]]


async def _main(rows: int, data: Path) -> None:
    drain = Drain(data, say=print)
    async with drain.system:
        await drain.fill(SMALL_BACKLOG)
        small_before = await drain.measure(SMALL_BACKLOG)
        await drain.fill(rows)
        stretches = await drain.measure(rows, stretches=TENTHS)
        await drain.fill(SMALL_BACKLOG)
        small_after = await drain.measure(SMALL_BACKLOG)
    paces = [stretch.per_second for stretch in small_before + small_after]
    pace = sum(paces) / len(paces)
    print(f"\n{'left':>10} {'ratings/s':>10} {'of the small pace':>18} {'worker: µs each':>16} {'MiB':>5}")
    for each in small_before + stretches + small_after:
        ratio = each.per_second / pace
        print(f"{each.left:>10} {each.per_second:>10.0f} {ratio:>18.2f} {each.processor:>16.0f} {each.memory:>5.0f}")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.drain", description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    data = Path(tempfile.mkdtemp(prefix="scoreline-drain-"))
    try:
        uvloop.run(_main(parser.parse_args().rows, data))
    finally:
        shutil.rmtree(data)


if __name__ == "__main__":
    main()
