"""pytest fixtures for the tests of all parts: one PostgreSQL and one Valkey per run."""

from collections.abc import AsyncIterator

import pytest

from devstack.postgres import Postgres
from devstack.valkey import Valkey


@pytest.fixture(scope="session")
async def postgres(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Postgres]:
    async with Postgres(tmp_path_factory.mktemp("postgres")) as server:
        yield server


@pytest.fixture(scope="session")
async def valkey(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Valkey]:
    async with Valkey(tmp_path_factory.mktemp("valkey")) as server:
        yield server
