"""How fast the outbox drains, and whether that depends on its size: `make drain ROWS=1000000`.

The worker is stopped while ratings are accepted, and then started. The ratings settled per second are shown for each
tenth of the backlog, beside the same worker's pace through a small backlog before and after, in the same run.
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

from benchmarks.process_stats import processor_seconds, total
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
    """A part of a drain: the messages left at its end, the ratings settled per second, and the worker's processor time
    per rating (µs) and resident memory (MiB)."""

    left: int
    per_second: float
    processor: float
    memory: float


class Drain:
    """A system whose worker serves metrics, from which its progress is read. `options` are those of System."""

    def __init__(self, data: Path, **options: Any) -> None:
        self._metrics = Address.free()
        settings = {"ARQ_WORKER_METRICS_PORT": str(self._metrics.port)}
        self.system = System(data, settings=settings, **options)

    async def fill(self, backlog: int, of_events: Sequence[int] = ()) -> float:
        """Stops the worker and accepts `backlog` ratings; returns how many per second."""
        await self.system.arq_worker.stop()
        return await fill(self.system, backlog, of_events)

    async def measure(self, backlog: int, *, stretches: int = 1) -> list[Stretch]:
        """Starts the worker and measures how it drains `backlog` messages, in stretches of equal length."""
        worker = self.system.arq_worker
        # Not start(), which returns when the worker reports its health: a fast worker has drained much by then.
        await worker.spawn()
        # The pace is measured from the first settled batch on, so that the start of the process does not count.
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
            if not self.system.arq_worker.running:
                raise RuntimeError(f"the worker has ended: {self.system.arq_worker.output()}")
            await asyncio.sleep(POLL_SECONDS)
        return settled

    def _settled(self) -> int:
        try:
            return total(self._metrics, "scoreline_settled_total")
        except OSError:
            return 0


async def fill(system: System, ratings: int, of_events: Sequence[int] = ()) -> float:
    """Accepts ratings by the statement of score_maker, each of a new rater, in groups of GROUP.

    The ratings are spread evenly over `of_events`, or over the events that are open. Returns ratings per second.
    """
    engine = create_async_engine(system.score_maker_database_url)
    events = itertools.cycle(of_events or await asyncio.to_thread(open_events, system))
    deadline = datetime.now(UTC) + timedelta(days=1)
    began = time.perf_counter()
    for start in range(0, ratings, GROUP):
        size = min(GROUP, ratings - start)
        group = [
            Submission(event_id=next(events), rater_id=new_rater_id(), value=1 + nth % 5, deadline=deadline)
            for nth in range(size)
        ]
        async with engine.begin() as connection:
            await accept.submit(connection, group)
    per_second = ratings / (time.perf_counter() - began)
    await engine.dispose()
    return per_second


def open_events(system: System) -> list[int]:
    """Returns the ids of the first 50 events that can be rated."""
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
    print(f"\n{'left':>10} {'ratings/s':>10} {'of the small one':>18} {'µs per rating':>16} {'MiB':>5}")
    for each in small_before + stretches + small_after:
        ratio = each.per_second / pace
        print(f"{each.left:>10} {each.per_second:>10.0f} {ratio:>18.2f} {each.processor:>16.0f} {each.memory:>5.0f}")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.drain", description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000, help="size of the large backlog (default: 1,000,000)")
    data = Path(tempfile.mkdtemp(prefix="scoreline-drain-"))
    try:
        uvloop.run(_main(parser.parse_args().rows, data))
    finally:
        shutil.rmtree(data)


if __name__ == "__main__":
    main()
