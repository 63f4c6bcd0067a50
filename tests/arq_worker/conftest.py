"""score_maker's real database with the rights of the worker, and a line_provider whose faults the tests choose."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from arq_worker.circuit_breaker import CircuitBreaker
from arq_worker.line_provider_client import LineProviderClient
from arq_worker.relay import Relay
from devstack.postgres import Postgres
from score_maker.ratings import accept
from score_maker.ratings.accept import Submission
from score_maker.storage.migrate import migrate
from score_maker.storage.tables import metadata
from scoreline_common.database import create_engine
from scoreline_common.line_provider_channel import open_channel
from tests.arq_worker.running import Rate, States
from tests.support.faulty_line_provider import TOKEN, FaultyLineProvider


@pytest.fixture(scope="session")
async def owner_url(postgres: Postgres) -> str:
    return await postgres.create_database("relayed_scores", owner="relayed_scores", password="owner")


@pytest.fixture(scope="session")
async def worker_url(postgres: Postgres, owner_url: str) -> str:
    url = await postgres.create_role("relaying_worker", password="worker", database="relayed_scores")
    await migrate(owner_url, worker_role="relaying_worker")
    return url


@pytest.fixture
async def owner(owner_url: str, worker_url: str) -> AsyncIterator[AsyncEngine]:
    """The owner's access to the database, which is empty at first."""
    engine = create_engine(owner_url)
    async with engine.begin() as connection:
        await connection.execute(text(f"TRUNCATE {', '.join(metadata.tables)}"))
    yield engine
    await engine.dispose()


@pytest.fixture
async def worker_engine(worker_url: str, owner: AsyncEngine) -> AsyncIterator[AsyncEngine]:
    """An engine with the rights of the worker and no more."""
    engine = create_engine(worker_url)
    yield engine
    await engine.dispose()


@pytest.fixture
async def line_provider() -> AsyncIterator[FaultyLineProvider]:
    service = FaultyLineProvider()  # type: ignore[abstract]  # the worker calls nothing else
    server = await service.serve()
    yield service
    await server.stop(grace=None)


@pytest.fixture
async def client(line_provider: FaultyLineProvider) -> AsyncIterator[LineProviderClient]:
    async with LineProviderClient(open_channel(line_provider.address), TOKEN, timedelta(seconds=5)) as client:
        yield client


@pytest.fixture
def relay(worker_engine: AsyncEngine, client: LineProviderClient) -> Relay:
    return Relay(worker_engine, client, CircuitBreaker(client.is_serving), batch_size=100, lease=timedelta(minutes=5))


@pytest.fixture
def rate(owner: AsyncEngine) -> Rate:
    """Submits `count` ratings of one event, each by a rater of its own."""

    async def rate(count: int = 1, *, event_id: int = 1) -> None:
        deadline = datetime.now(UTC) + timedelta(hours=1)
        async with owner.begin() as connection:
            await accept.submit(
                connection,
                [Submission(event_id=event_id, rater_id=uuid4(), value=4, deadline=deadline) for _ in range(count)],
            )

    return rate


@pytest.fixture
def states(owner: AsyncEngine) -> States:
    """Returns how many scores are in each state."""

    async def states() -> dict[str, int]:
        async with owner.connect() as connection:
            rows = await connection.execute(text("SELECT state, count(*) AS number FROM scores GROUP BY state"))
            return {row.state: row.number for row in rows}

    return states


@pytest.fixture
def settled_by_verdict(owner: AsyncEngine) -> States:
    """Returns how many messages workers have recorded as settled, by verdict and reason."""

    async def settled_by_verdict() -> dict[str, int]:
        async with owner.connect() as connection:
            rows = await connection.execute(
                text(
                    "SELECT outcome || reason AS verdict, sum(ratings)::int AS number FROM throughput GROUP BY verdict"
                )
            )
            return {row.verdict: row.number for row in rows}

    return settled_by_verdict
