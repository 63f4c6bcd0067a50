"""A real database of line_provider, empty at the start of each test, and servers on it."""

from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from devstack.postgres import Postgres
from line_provider.events.changes import create_event
from line_provider.events.domain import Event, EventDraft
from line_provider.storage.migrate import migrate
from scoreline_common.database import create_engine
from tests.support.running_server import RunningServer, serving


@pytest.fixture(scope="session")
async def owner_url(postgres: Postgres) -> str:
    return await postgres.create_database("tested_events", owner="tested_events", password="secret")


@pytest.fixture(scope="session")
async def database_url(postgres: Postgres, owner_url: str) -> str:
    """The service's access, with exactly the rights of a running service."""
    url = await postgres.create_role("serving_events", password="service", database="tested_events")
    await migrate(owner_url, app_role="serving_events")
    return url


@pytest.fixture
async def engine(owner_url: str, database_url: str) -> AsyncIterator[AsyncEngine]:
    """The owner's access to the database, which is emptied first."""
    engine = create_engine(owner_url)
    async with engine.begin() as connection:
        await connection.execute(text("TRUNCATE events, applied_scores RESTART IDENTITY"))
    yield engine
    await engine.dispose()


@pytest.fixture
async def service_engine(database_url: str) -> AsyncIterator[AsyncEngine]:
    """The service's access: only its own role sees its sessions' queries and may terminate them."""
    engine = create_engine(database_url)
    yield engine
    await engine.dispose()


@pytest.fixture
def add_event(engine: AsyncEngine) -> Callable[..., Awaitable[Event]]:
    """Creates events whose deadline is `deadline_in` from now; it may be negative."""

    async def add_event(title: str = "Spain – Argentina", *, deadline_in: timedelta = timedelta(hours=48)) -> Event:
        deadline = datetime.now(UTC) + deadline_in
        draft = EventDraft(title=title, description="", starts_at=deadline - timedelta(hours=48), deadline=deadline)
        async with engine.begin() as connection:
            return await create_event(connection, draft)

    return add_event


@pytest.fixture
async def server(engine: AsyncEngine, database_url: str) -> AsyncIterator[RunningServer]:
    async with serving(database_url) as server:
        yield server
