"""The periodic jobs: no two passes at once, by any number of workers, and no failure that ends the schedule."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine
from structlog.testing import capture_logs

from arq_worker.line_provider_client import LineProviderClient
from arq_worker.periodic import PeriodicJob, periodic_jobs
from score_maker.ratings import erasure
from scoreline.line_provider.v1 import events_pb2
from scoreline_common.database import create_engine
from scoreline_common.line_provider_channel import open_channel
from tests.arq_worker.running import Rate
from tests.support.faulty_line_provider import TOKEN, FaultyLineProvider

Jobs = dict[str, PeriodicJob]


@pytest.fixture
async def new_worker(
    worker_url: str, owner: AsyncEngine, line_provider: FaultyLineProvider
) -> AsyncIterator[Callable[[], Jobs]]:
    """Returns the jobs of a further worker, which shares nothing with the others."""
    engines, channels = list[AsyncEngine](), list[LineProviderClient]()

    def new_worker() -> Jobs:
        engines.append(create_engine(worker_url))
        channels.append(LineProviderClient(open_channel(line_provider.address), TOKEN, timedelta(seconds=5)))
        jobs = periodic_jobs(
            database_url=worker_url,
            engine=engines[-1],
            line_provider=channels[-1],
            finalize_after=timedelta(minutes=1),
            wake_relays=lambda: None,
        )
        return {job.name: job for job in jobs}

    yield new_worker
    for channel in channels:
        await channel.__aexit__(None, None, None)
    for engine in engines:
        await engine.dispose()


class Overlap:
    """Work that counts how many run at once and how many have run."""

    def __init__(self) -> None:
        self.running = self.most = self.runs = 0

    async def __call__(self) -> None:
        self.running += 1
        self.most = max(self.most, self.running)
        await asyncio.sleep(0.3)
        self.running -= 1
        self.runs += 1


@pytest.fixture
def passes(line_provider: FaultyLineProvider, monkeypatch: pytest.MonkeyPatch) -> Overlap:
    """Counts the passes of every exclusive job: two begin with a listing, the third is all `erasure.finish`."""
    overlap = Overlap()

    async def finish(_engine: AsyncEngine) -> int:
        await overlap()
        return 0

    line_provider.before_listing = overlap
    monkeypatch.setattr(erasure, "finish", finish)
    return overlap


@pytest.mark.parametrize("name", ["reconcile", "finalize", "erase"])
async def test_passes_never_overlap_across_workers_or_within_one(
    name: str, new_worker: Callable[[], Jobs], passes: Overlap
) -> None:
    one, other = new_worker()[name], new_worker()[name]
    for _ in range(3):
        await asyncio.gather(one.run(), other.run(), one.run(), other.run())
    assert passes.most == 1
    # A pass that is skipped leaves the lock alone, and each round has at least one.
    assert passes.runs >= 3
    runs = passes.runs
    await other.run()
    await one.run()
    assert passes.runs == runs + 2


async def test_different_jobs_do_not_wait_for_each_other(new_worker: Callable[[], Jobs], passes: Overlap) -> None:
    worker = new_worker()
    await asyncio.gather(*(job.run() for job in worker.values()))
    assert passes.runs == 3


@pytest.mark.parametrize(
    ("error", "event"), [(RuntimeError("injected"), "job_failed"), (ConnectionError("gone"), "database_unreachable")]
)
async def test_a_pass_that_fails_is_logged_and_the_next_one_runs(
    error: Exception, event: str, new_worker: Callable[[], Jobs], monkeypatch: pytest.MonkeyPatch
) -> None:
    outcomes: list[Callable[[], int]] = [lambda: _raise(error), lambda: 3]

    async def finish(_engine: AsyncEngine) -> int:
        return outcomes.pop(0)()

    monkeypatch.setattr(erasure, "finish", finish)
    erase = new_worker()["erase"]
    with capture_logs() as logged:
        await erase.run()
        await erase.run()
    assert [line["event"] for line in logged] == [event, "erased"]
    assert logged[0]["job"] == "erase"


def _raise(error: Exception) -> int:
    raise error


async def test_reconciliation_that_finds_line_provider_unreachable_waits_for_its_next_pass(
    new_worker: Callable[[], Jobs], line_provider: FaultyLineProvider
) -> None:
    async def fail() -> None:
        raise RuntimeError("the call fails")

    line_provider.before_listing = fail
    with capture_logs() as logged:
        await new_worker()["reconcile"].run()
    assert [(line["event"], line["job"]) for line in logged] == [("line_provider_unavailable", "reconcile")]


def _open_event(event_id: int) -> events_pb2.Event:
    event = events_pb2.Event(event_id=event_id, title="Matinee", revision=1)
    event.deadline.FromDatetime(datetime.now(UTC) + timedelta(hours=1))
    return event


async def test_an_event_that_vanishes_from_line_provider_is_no_longer_divergent(
    new_worker: Callable[[], Jobs],
    line_provider: FaultyLineProvider,
    owner: AsyncEngine,
    rate: Rate,
) -> None:
    async def divergent() -> list[int]:
        async with owner.connect() as connection:
            ids: list[int] = await connection.scalar(text("SELECT divergent_event_ids FROM last_reconciliation")) or []
            return ids

    await rate(1)
    async with owner.begin() as connection:
        # Confirmed here, and not applied there.
        await connection.execute(text("DELETE FROM scores_outbox"))
        await connection.execute(
            text(
                "UPDATE scores SET state = 'confirmed', confirmed_value = 4, confirmed_version = 1, settled_at = now()"
            )
        )
    line_provider.events = [_open_event(1), _open_event(2)]
    reconcile: Callable[[], Awaitable[None]] = new_worker()["reconcile"].run
    await reconcile()
    assert await divergent() == [1]
    line_provider.events = [_open_event(2)]
    await reconcile()
    assert await divergent() == []
