"""The embedded Valkey answers at its URL, on any folder and after a restart."""

from pathlib import Path

import pytest
from redis.asyncio import Redis

from devstack.valkey import Valkey


async def ping(valkey: Valkey) -> bool:
    async with Redis.from_url(valkey.url) as client:
        return bool(await client.ping())


@pytest.mark.parametrize(
    "name", ["plain", "a folder, with spaces, ' and %20", "long" * 50], ids=["plain", "odd", "long"]
)
async def test_it_is_reachable_on_any_folder(name: str, tmp_path: Path) -> None:
    async with Valkey(tmp_path / name / "valkey") as server:
        assert await ping(server)


async def test_it_restarts_after_a_crash(tmp_path: Path) -> None:
    async with Valkey(tmp_path / "valkey") as server:
        await server.kill()
        await server.start()
        assert await ping(server)
