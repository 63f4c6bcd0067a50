"""score_maker over real HTTP, on its real stores, empty at the start of each test."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest
from httpx import AsyncClient
from redis.asyncio import Redis
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from devstack.postgres import Postgres
from devstack.valkey import Valkey
from score_maker.settings import EXAMPLE, Settings
from score_maker.storage.migrate import migrate
from score_maker.storage.tables import metadata
from scoreline_common.database import create_engine
from scoreline_common.settings import load
from tests.support.scripted_line_provider import ScriptedLineProvider, event
from tests.support.serving import serving


@pytest.fixture(scope="session")
async def owner_url(postgres: Postgres) -> str:
    return await postgres.create_database("tested_scores", owner="tested_scores", password="secret")


@pytest.fixture(scope="session")
async def database_url(postgres: Postgres, owner_url: str) -> str:
    """The service's access, with the rights of a running service and no more."""
    url = await postgres.create_role("serving_scores", password="service", database="tested_scores")
    await migrate(owner_url, app_role="serving_scores")
    return url


@pytest.fixture
async def engine(owner_url: str, database_url: str) -> AsyncIterator[AsyncEngine]:
    """The owner's access to the database, which is empty at first."""
    engine = create_engine(owner_url)
    async with engine.begin() as connection:
        await connection.execute(text(f"TRUNCATE {', '.join(metadata.tables)}"))
    yield engine
    await engine.dispose()


@pytest.fixture
async def service_engine(database_url: str) -> AsyncIterator[AsyncEngine]:
    """The service's access: nobody else sees what its sessions do, or may end them."""
    engine = create_engine(database_url)
    yield engine
    await engine.dispose()


@pytest.fixture
async def line_provider() -> AsyncIterator[ScriptedLineProvider]:
    service = ScriptedLineProvider()  # type: ignore[abstract]  # score_maker calls nothing else
    await service.start()
    yield service
    await service.stop()


@pytest.fixture
async def redis(valkey: Valkey) -> AsyncIterator[Redis]:
    async with Redis.from_url(valkey.url) as client:
        await client.flushall()
        yield client


@pytest.fixture
def settings(
    monkeypatch: pytest.MonkeyPatch,
    database_url: str,
    valkey: Valkey,
    redis: Redis,
    engine: AsyncEngine,
    line_provider: ScriptedLineProvider,
) -> Settings:
    """Empty stores, and the scripted line_provider."""
    monkeypatch.setenv("SCORE_MAKER_DATABASE_URL", database_url)
    monkeypatch.setenv("SCORE_MAKER_REDIS_URL", valkey.url)
    monkeypatch.setenv("SCORE_MAKER_LINE_PROVIDER_ADDRESS", line_provider.address)
    monkeypatch.setenv("SCORE_MAKER_SECRET_KEY", "a-secret-for-tests-that-is-long-enough")
    return load(Settings, example=EXAMPLE)


@pytest.fixture
async def api(settings: Settings, line_provider: ScriptedLineProvider) -> AsyncIterator[AsyncClient]:
    """A client without cookies of score_maker over HTTP; events 1 to 3 are open, 4 is closed, 5 is cancelled."""
    now = datetime.now(UTC)
    line_provider.put(*(event(event_id, deadline=now + timedelta(hours=event_id)) for event_id in (1, 2, 3)))
    line_provider.put(event(4, deadline=now - timedelta(hours=1)), event(5, cancelled_at=now))
    async with serving(settings) as client:
        yield client
