"""Either database is restored from an older backup, and recovers its lost ratings from the other one."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import UUID, uuid4

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from devstack.system import MANY_RATERS, System
from score_maker.ratings import accept
from score_maker.ratings.accept import Submission
from tests.support.backups import back_up, restore
from tests.support.organising import Metadata, new_event
from tests.support.waiting import eventually

if TYPE_CHECKING:
    from scoreline.line_provider.v1.events_pb2_grpc import EventServiceAsyncStub

Check = Callable[[], Awaitable[None]]
Ratings = dict[tuple[int, UUID], int | None]


@pytest.fixture(scope="module")
async def system(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[System]:
    """Its own system, since restoring a database would undo what other tests did."""
    async with System(tmp_path_factory.mktemp("restored"), settings=MANY_RATERS, events=None) as system:
        yield system


async def rate(engine: AsyncEngine, ratings: Ratings) -> None:
    async with engine.begin() as connection:
        await accept.submit(
            connection,
            [
                Submission(event_id=event_id, rater_id=rater_id, value=value, deadline=None)
                for (event_id, rater_id), value in ratings.items()
            ],
        )


async def confirmed(engine: AsyncEngine) -> Ratings:
    async with engine.connect() as connection:
        rows = await connection.execute(text("SELECT event_id, rater_id, confirmed_value FROM scores"))
        return {(row.event_id, row.rater_id): row.confirmed_value for row in rows}


async def applied(engine: AsyncEngine, *event_ids: int) -> Ratings:
    async with engine.connect() as connection:
        query = text("SELECT event_id, rater_id, value FROM applied_scores WHERE event_id = ANY(:event_ids)")
        rows = await connection.execute(query, {"event_ids": list(event_ids)})
        return {(row.event_id, row.rater_id): row.value for row in rows}


async def reconciled(system: System) -> None:
    """Runs `arq-worker reconcile` until nothing differs, as an operator would."""
    settings = {
        "ARQ_WORKER_DATABASE_URL": system.arq_worker_database_url,
        "ARQ_WORKER_REDIS_URL": system.valkey.url,
        "ARQ_WORKER_LINE_PROVIDER_ADDRESS": system.grpc_address,
        "ARQ_WORKER_LINE_PROVIDER_TOKEN": system.worker_token,
    }

    async def nothing_differs() -> bool:
        command = Path(sys.executable).with_name("arq-worker")
        process = await asyncio.create_subprocess_exec(
            sys.executable, command, "reconcile", env=os.environ | settings, stdout=asyncio.subprocess.PIPE
        )
        output = (await process.communicate())[0].decode()
        assert "events compared" in output
        return process.returncode == 0

    await eventually(nothing_differs, within=60)


async def test_ratings_that_score_maker_has_lost_are_recovered_from_line_provider(
    system: System,
    organiser: "EventServiceAsyncStub",
    admin: Metadata,
    scores_database: AsyncEngine,
    line_provider_database: AsyncEngine,
    everything_settled: Check,
    both_databases_agree: Check,
    tmp_path: Path,
) -> None:
    event, other_event = await new_event(organiser, admin), await new_event(organiser, admin)
    changing, withdrawing, silent, new, rating_again, new_and_rating_again = (uuid4() for _ in range(6))
    await rate(scores_database, {(event, rater): 3 for rater in (changing, withdrawing, silent, rating_again)})
    await rate(scores_database, {(other_event, silent): 2, (other_event, changing): 4})
    await everything_settled()
    await back_up(system.score_maker_database_url, tmp_path / "score_maker.dump")

    since: Ratings = {
        (event, changing): 5,
        (event, withdrawing): None,
        (event, new): 1,
        (event, rating_again): 5,
        (event, new_and_rating_again): 5,
        # These change neither the count nor the sum of the other event's ratings.
        (other_event, silent): 4,
        (other_event, changing): 2,
    }
    await rate(scores_database, since)
    await rate(scores_database, {(event, changing): 4})
    await everything_settled()
    expected = await confirmed(scores_database)

    await system.score_maker.stop()
    await system.arq_worker.stop()
    await restore(system.score_maker_database_url, tmp_path / "score_maker.dump")
    assert (event, new) not in await confirmed(scores_database)
    # The worker is still stopped, so these are submitted before anything is repaired.
    again: Ratings = {(event, rating_again): 2, (event, new_and_rating_again): 2}
    await rate(scores_database, again)
    await system.arq_worker.start()
    await system.score_maker.start()

    await reconciled(system)
    await everything_settled()
    await reconciled(system)
    assert await confirmed(scores_database) == expected | again
    assert await applied(line_provider_database, event, other_event) == expected | again
    await both_databases_agree()


async def test_ratings_that_line_provider_has_lost_are_requeued(
    system: System,
    organiser: "EventServiceAsyncStub",
    admin: Metadata,
    scores_database: AsyncEngine,
    line_provider_database: AsyncEngine,
    everything_settled: Check,
    tmp_path: Path,
) -> None:
    event = await new_event(organiser, admin)
    changing, withdrawing, silent, new = (uuid4() for _ in range(4))
    await rate(scores_database, {(event, rater): 3 for rater in (changing, withdrawing, silent)})
    await everything_settled()
    await back_up(system.line_provider_database_url, tmp_path / "line_provider.dump")

    lost_event = await new_event(organiser, admin)
    await rate(scores_database, {(event, changing): 5, (event, withdrawing): None, (event, new): 1})
    await rate(scores_database, {(lost_event, new): 4})
    await everything_settled()
    expected = {key: value for key, value in (await confirmed(scores_database)).items() if key[0] == event}

    await system.line_provider.stop()
    await restore(system.line_provider_database_url, tmp_path / "line_provider.dump")
    async with scores_database.connect() as connection:
        rated = await connection.scalar(text("SELECT max(event_id) FROM scores"))
    async with line_provider_database.begin() as connection:
        await connection.execute(text(f"ALTER TABLE events ALTER COLUMN event_id RESTART WITH {rated + 1}"))
    await system.line_provider.start()

    await reconciled(system)
    await everything_settled()
    await reconciled(system)
    assert await applied(line_provider_database, event) == expected
    assert await new_event(organiser, admin) > lost_event
