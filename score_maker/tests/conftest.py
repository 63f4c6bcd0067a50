"""score_maker's real database, empty at the start of each test."""

from collections.abc import AsyncIterator

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from devstack.postgres import Postgres
from score_maker.database import create_engine
from score_maker.migrate import migrate


@pytest.fixture(scope="session")
async def database_url(postgres: Postgres) -> str:
    url = await postgres.create_database("tested_scores", owner="tested_scores", password="secret")
    await migrate(url, None)
    return url


@pytest.fixture
async def engine(database_url: str) -> AsyncIterator[AsyncEngine]:
    engine = create_engine(database_url)
    async with engine.begin() as connection:
        await connection.execute(text("TRUNCATE scores, scores_outbox"))
    yield engine
    await engine.dispose()
