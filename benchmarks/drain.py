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
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.request import urlopen
from uuid import uuid4

import psutil
import uvloop
from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from devstack.addresses import Address
from devstack.system import System
from score_maker import scores
from score_maker.scores import Submission

SMALL_BACKLOG = 50_000
TENTHS = 10
GROUP = 1_000
POLL_SECONDS = 0.1


@dataclass(frozen=True, slots=True)
class Stretch:
    """A part of a drain: what was left at its end, ratings settled per second, and the worker's memory in MiB."""

    left: int
    per_second: float
    memory: float


class Drain:
    """A system whose worker can be asked how much it has settled."""

    def __init__(self, data: Path) -> None:
        self._metrics = Address.free()
        settings = {"ARQ_WORKER_METRICS_PORT": str(self._metrics.port)}
        self.system = System(data, settings=settings, say=print)

    async def measure(self, backlog: int, *, stretches: int) -> list[Stretch]:
        """Has the worker drain so many ratings that came in while it was away."""
        worker = self.system.arq_worker
        await worker.stop()
        engine = create_async_engine(self.system.score_maker_database_url)
        await _fill(engine, await asyncio.to_thread(self._open_events), backlog)
        await engine.dispose()
        await worker.start()
        # Its start is not its pace.
        done = await self._until_settled(1)
        began, result = time.monotonic(), []
        for goal in (backlog * stretch // stretches for stretch in range(1, stretches + 1)):
            before, done = done, await self._until_settled(goal)
            now = time.monotonic()
            memory = psutil.Process(worker.pid).memory_info().rss / 2**20
            result.append(Stretch(backlog - done, (done - before) / (now - began), memory))
            began = now
        return result

    def _open_events(self) -> list[int]:
        with urlopen(f"{self.system.http_url}/events?phase=open", timeout=5) as response:
            return [event["event_id"] for event in json.load(response)["events"]]

    async def _until_settled(self, goal: int) -> int:
        while (settled := await asyncio.to_thread(self._settled)) < goal:
            await asyncio.sleep(POLL_SECONDS)
        return settled

    def _settled(self) -> int:
        try:
            with urlopen(f"http://{self._metrics.local}/metrics", timeout=5) as response:
                families = text_string_to_metric_families(response.read().decode())
                samples = itertools.chain.from_iterable(family.samples for family in families)
                return int(sum(sample.value for sample in samples if sample.name == "scoreline_settled_total"))
        except OSError:
            return 0


async def _fill(engine: AsyncEngine, event_ids: list[int], ratings: int) -> None:
    """Accepts ratings as score_maker does, each of somebody new."""
    deadline = datetime.now(UTC) + timedelta(days=1)
    events = itertools.cycle(event_ids)
    for start in range(0, ratings, GROUP):
        size = min(GROUP, ratings - start)
        group = [Submission(next(events), uuid4(), 1 + nth % 5, deadline) for nth in range(size)]
        async with engine.begin() as connection:
            await scores.submit(connection, group)


async def _main(rows: int, data: Path) -> None:
    drain = Drain(data)
    async with drain.system:
        small_before = await drain.measure(SMALL_BACKLOG, stretches=1)
        stretches = await drain.measure(rows, stretches=TENTHS)
        small_after = await drain.measure(SMALL_BACKLOG, stretches=1)
    paces = [stretch.per_second for stretch in small_before + small_after]
    pace = sum(paces) / len(paces)
    print(f"\n{'left':>10} {'ratings/s':>10} {'of the pace through ' + str(SMALL_BACKLOG):>28} {'worker, MiB':>12}")
    for stretch in small_before + stretches + small_after:
        ratio = stretch.per_second / pace
        print(f"{stretch.left:>10} {stretch.per_second:>10.0f} {ratio:>28.2f} {stretch.memory:>12.0f}")


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
