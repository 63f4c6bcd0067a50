"""Comparing the records of both services: divergence is found and repaired, and results become final."""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING
from uuid import UUID, uuid4

import grpc
import pytest
from httpx import AsyncClient
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from arq_worker import reconcile
from arq_worker.finalize import finalize_events
from arq_worker.line_provider_client import LineProviderClient
from arq_worker.reconcile import Reconciler
from devstack.system import System
from score_maker.ratings import accept, queries
from score_maker.ratings.accept import Submission
from score_maker.ratings.domain import Outcome, Refusal, State
from scoreline.line_provider.v1 import events_pb2
from scoreline_common.line_provider_channel import open_channel
from tests.support.organising import Metadata, move_deadline, new_event
from tests.support.waiting import eventually

if TYPE_CHECKING:
    from scoreline.line_provider.v1.events_pb2_grpc import EventServiceAsyncStub

Check = Callable[[], Awaitable[None]]


@pytest.fixture
async def worker_engine(system: System) -> AsyncIterator[AsyncEngine]:
    """An engine with only the worker's rights."""
    engine = create_async_engine(system.arq_worker_database_url)
    yield engine
    await engine.dispose()


@pytest.fixture
async def line_provider(system: System) -> AsyncIterator[LineProviderClient]:
    async with LineProviderClient(
        open_channel(system.grpc_address), system.worker_token, timedelta(seconds=10)
    ) as client:
        yield client


@pytest.fixture
async def event_id(organiser: "EventServiceAsyncStub", admin: Metadata) -> int:
    return await new_event(organiser, admin)


async def rate(engine: AsyncEngine, event_id: int, raters: Sequence[UUID], value: int) -> list[Outcome]:
    async with engine.begin() as connection:
        return await accept.submit(
            connection, [Submission(event_id=event_id, rater_id=rater, value=value, deadline=None) for rater in raters]
        )


async def execute(engine: AsyncEngine, statement: str, **parameters: object) -> None:
    async with engine.begin() as connection:
        await connection.execute(text(statement), parameters)


async def test_ratings_that_line_provider_has_lost_are_requeued(
    system: System,
    event_id: int,
    worker_engine: AsyncEngine,
    line_provider: LineProviderClient,
    scores_database: AsyncEngine,
    line_provider_database: AsyncEngine,
    everything_settled: Check,
    both_databases_agree: Check,
) -> None:
    raters = [uuid4() for _ in range(2_500)]
    await rate(scores_database, event_id, raters, 4)
    await everything_settled()
    await rate(scores_database, event_id, raters[:100], 1)
    await everything_settled()
    reconciler = Reconciler(worker_engine, line_provider)
    assert (await reconciler.run()).divergent == 0

    # As if its database had been restored from a backup older than some of the ratings.
    lost = "DELETE FROM applied_scores WHERE event_id = :event_id AND (version = 2 OR rater_id > :some)"
    await execute(line_provider_database, lost, event_id=event_id, some=sorted(raters)[2_000])
    rebuild = """
        UPDATE events
        SET score_count = rebuilt.count, score_sum = rebuilt.sum, histogram = ARRAY[0, 0, 0, rebuilt.count, 0],
            revision = revision + 1
        FROM (SELECT count(value) AS count, sum(value) AS sum FROM applied_scores WHERE event_id = :event_id) AS rebuilt
        WHERE event_id = :event_id
    """
    await execute(line_provider_database, rebuild, event_id=event_id)
    with pytest.raises(AssertionError):
        await both_databases_agree()

    assert (await reconciler.run()).divergent == 1
    await everything_settled()
    assert (await reconciler.run()).divergent == 0
    await both_databases_agree()


async def test_ratings_that_line_provider_has_applied_are_confirmed_here(
    event_id: int,
    worker_engine: AsyncEngine,
    line_provider: LineProviderClient,
    scores_database: AsyncEngine,
    everything_settled: Check,
    both_databases_agree: Check,
) -> None:
    rater = uuid4()
    await rate(scores_database, event_id, [rater], 4)
    await rate(scores_database, event_id, [rater], 2)
    await everything_settled()
    # As if a rejection had been recorded for a rating that was applied.
    await execute(
        scores_database,
        """
        UPDATE scores SET state = 'rejected', reason = 'event_final', value = 4, confirmed_value = 4,
            confirmed_version = 1
        WHERE event_id = :event_id
        """,
        event_id=event_id,
    )
    reconciler = Reconciler(worker_engine, line_provider)
    assert (await reconciler.run()).divergent == 1
    async with scores_database.connect() as connection:
        score = await queries.get(connection, event_id, rater)
    assert score is not None
    assert (score.state, score.value, score.confirmed_version, score.reason) == (State.CONFIRMED, 2, 2, None)
    assert (await reconciler.run()).divergent == 0
    await both_databases_agree()


async def test_an_event_of_many_ratings_has_a_cooldown_after_its_totals_agreed(
    event_id: int,
    worker_engine: AsyncEngine,
    line_provider: LineProviderClient,
    scores_database: AsyncEngine,
    line_provider_database: AsyncEngine,
    everything_settled: Check,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def set_line_providers_total(value: int) -> None:
        change = """
            UPDATE events
            SET score_sum = :value, histogram = :histogram, revision = revision + 1
            WHERE event_id = :event_id
        """
        await execute(
            line_provider_database,
            change,
            event_id=event_id,
            value=value,
            histogram=[int(value == each) for each in range(1, 6)],
        )

    monkeypatch.setattr(reconcile, "COOLDOWN_RATINGS_PER_SECOND", 1 / 3_600)
    await rate(scores_database, event_id, [uuid4()], 4)
    await everything_settled()
    reconciler = Reconciler(worker_engine, line_provider)
    assert (await reconciler.run()).divergent == 0

    await set_line_providers_total(5)
    assert (await reconciler.run()).divergent == 0
    assert (await reconciler.run(every_rating=True)).divergent == 1
    assert (await reconciler.run()).divergent == 1
    await set_line_providers_total(4)
    assert (await reconciler.run()).divergent == 0


async def test_a_result_becomes_final_once_all_is_settled_and_is_then_immutable_in_both_services(
    system: System,
    rater: AsyncClient,
    event_id: int,
    organiser: "EventServiceAsyncStub",
    admin: Metadata,
    worker_engine: AsyncEngine,
    line_provider: LineProviderClient,
    scores_database: AsyncEngine,
    everything_settled: Check,
) -> None:
    await rate(scores_database, event_id, [uuid4(), uuid4()], 5)
    await everything_settled()
    await system.arq_worker.stop()
    undecided = uuid4()
    await rate(scores_database, event_id, [undecided], 1)
    await move_deadline(organiser, admin, event_id)

    await finalize_events(worker_engine, line_provider, after=timedelta(0))
    event = (await organiser.GetEvent(events_pb2.GetEventRequest(event_id=event_id))).event
    assert not event.HasField("finalized_at")

    await system.arq_worker.start()
    await everything_settled()
    await finalize_events(worker_engine, line_provider, after=timedelta(0))
    event = (await organiser.GetEvent(events_pb2.GetEventRequest(event_id=event_id))).event
    assert event.HasField("finalized_at")
    assert (event.totals.count, event.totals.sum) == (3, 11)
    async with scores_database.connect() as connection:
        query = text("SELECT score_count, score_sum FROM final_results WHERE event_id = :event_id")
        assert tuple((await connection.execute(query, {"event_id": event_id})).one()) == (3, 11)

    assert await rate(scores_database, event_id, [undecided], 3) == [Refusal.EVENT_FINAL]
    with pytest.raises(grpc.aio.AioRpcError, match="final"):
        await organiser.CancelEvent(events_pb2.CancelEventRequest(event_id=event_id), metadata=admin)

    async def refused_as_final() -> bool:
        answer = await rater.post(f"/events/{event_id}/score", json={"score": 3})
        return bool(answer.status_code == 409 and answer.json()["type"] == "/problems/event-final")

    await eventually(refused_as_final)
    assert (await rater.get(f"/events/{event_id}")).json()["phase"] == "final"


async def test_reconciliation_records_a_final_result_that_a_crashed_worker_left_unrecorded(
    event_id: int,
    organiser: "EventServiceAsyncStub",
    admin: Metadata,
    worker_engine: AsyncEngine,
    line_provider: LineProviderClient,
    scores_database: AsyncEngine,
    everything_settled: Check,
) -> None:
    await rate(scores_database, event_id, [uuid4()], 5)
    await everything_settled()
    await move_deadline(organiser, admin, event_id)
    await line_provider.finalize(event_id, count=1, total=5)
    await Reconciler(worker_engine, line_provider).run()
    assert await rate(scores_database, event_id, [uuid4()], 3) == [Refusal.EVENT_FINAL]
