"""Fixtures that run the whole system as processes, on real ports and real stores."""

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

import grpc
import pytest
from httpx import AsyncClient
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from devstack.system import MANY_RATERS, System
from scoreline.line_provider.v1.events_pb2_grpc import EventServiceStub
from tests.support.waiting import Check, eventually
from tests.torture.arena import Arena

if TYPE_CHECKING:
    from scoreline.line_provider.v1.events_pb2_grpc import EventServiceAsyncStub


@pytest.fixture(scope="session")
async def system(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[System]:
    """A shared system with the demo events. A test that stops a part of it has to start it again."""
    async with System(tmp_path_factory.mktemp("system"), settings=MANY_RATERS) as system:
        yield system


@pytest.fixture(scope="session")
async def arena(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Arena]:
    """Another whole system, for tests that break it and have to repair it afterwards."""
    async with Arena(tmp_path_factory.mktemp("arena")) as arena:
        yield arena


@pytest.fixture
async def rater(system: System) -> AsyncIterator[AsyncClient]:
    """A browser that has not rated anything yet."""
    async with AsyncClient(base_url=system.http_url) as client:
        yield client


@pytest.fixture
async def organiser(system: System) -> "AsyncIterator[EventServiceAsyncStub]":
    """line_provider's EventService, for calls with `metadata=` of the admin."""
    async with grpc.aio.insecure_channel(system.grpc_address) as channel:
        yield EventServiceStub(channel)


@pytest.fixture
def admin(system: System) -> tuple[tuple[str, str], ...]:
    return (("authorization", f"Bearer {system.admin_token}"),)


@pytest.fixture
async def scores_database(system: System) -> AsyncIterator[AsyncEngine]:
    engine = create_async_engine(system.score_maker_database_url)
    yield engine
    await engine.dispose()


@pytest.fixture
async def line_provider_database(system: System) -> AsyncIterator[AsyncEngine]:
    engine = create_async_engine(system.line_provider_database_url)
    yield engine
    await engine.dispose()


@pytest.fixture
def everything_settled(scores_database: AsyncEngine) -> Check:
    """Waits until every accepted rating is settled."""

    async def outbox_is_empty() -> bool:
        async with scores_database.connect() as connection:
            return not await connection.scalar(text("SELECT count(*) FROM scores_outbox"))

    async def wait() -> None:
        await eventually(outbox_is_empty, within=90)

    return wait


@pytest.fixture
def both_databases_agree(scores_database: AsyncEngine, line_provider_database: AsyncEngine) -> Check:
    """Asserts that line_provider's totals of every event equal those of score_maker's confirmed ratings."""
    confirmed = text("""
        SELECT event_id, count(confirmed_value) AS count, coalesce(sum(confirmed_value), 0) AS sum
        FROM scores GROUP BY event_id HAVING count(confirmed_value) > 0
    """)
    applied = text("SELECT event_id, score_count AS count, score_sum AS sum FROM events WHERE score_count > 0")

    async def check() -> None:
        async with scores_database.connect() as ours, line_provider_database.connect() as theirs:
            expected = {row.event_id: (row.count, row.sum) for row in await ours.execute(confirmed)}
            actual = {row.event_id: (row.count, row.sum) for row in await theirs.execute(applied)}
        assert actual == expected

    return check
