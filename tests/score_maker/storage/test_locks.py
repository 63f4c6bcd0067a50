"""Advisory locks: who runs, who does not, and what becomes of a lock whose session ends."""

import asyncio

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from score_maker.storage import locks
from score_maker.storage.locks import LockUnavailable, run_exclusively
from scoreline_common.database import is_unreachable
from tests.support.waiting import eventually

KEY = 7_236_999


async def nothing() -> None:
    pass


async def is_free(database_url: str) -> bool:
    return await run_exclusively(database_url, KEY, nothing)


async def test_of_many_at_once_one_runs_and_the_others_are_told_so(database_url: str) -> None:
    running = most = 0

    async def work() -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0.5)
        running -= 1

    ran = await asyncio.gather(*(run_exclusively(database_url, KEY, work) for _ in range(8)))
    assert most == 1
    assert ran.count(True) >= 1
    assert ran.count(False) >= 1
    assert await is_free(database_url)


async def test_locks_of_different_keys_do_not_exclude_each_other(database_url: str) -> None:
    async def work() -> None:
        assert await run_exclusively(database_url, KEY + 1, nothing)
        assert not await run_exclusively(database_url, KEY, nothing)

    assert await run_exclusively(database_url, KEY, work)
    keys = (locks.RECONCILE, locks.FINALIZE, locks.ERASE)
    assert len(set(keys)) == len(keys)


async def test_work_that_fails_releases_the_lock(database_url: str) -> None:
    async def fail() -> None:
        raise ValueError("as the test wants it")

    with pytest.raises(ValueError, match="as the test wants it"):
        await run_exclusively(database_url, KEY, fail)
    await eventually(lambda: is_free(database_url))


async def test_work_that_is_cancelled_has_ended_when_the_lock_is_released(database_url: str) -> None:
    began, ended = asyncio.Event(), False

    async def work() -> None:
        nonlocal ended
        began.set()
        try:
            await asyncio.sleep(60)
        finally:
            await asyncio.sleep(0.2)
            ended = True

    running = asyncio.create_task(run_exclusively(database_url, KEY, work))
    await began.wait()
    running.cancel()
    await asyncio.sleep(0.1)
    assert not await is_free(database_url) or ended
    with pytest.raises(asyncio.CancelledError):
        await running
    assert ended
    await eventually(lambda: is_free(database_url))


async def test_work_is_cancelled_if_the_session_of_its_lock_ends(
    database_url: str, service_engine: AsyncEngine
) -> None:
    began = asyncio.Event()
    was_cancelled = False

    async def work() -> None:
        nonlocal was_cancelled
        began.set()
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            was_cancelled = True
            raise

    running = asyncio.create_task(run_exclusively(database_url, KEY, work))
    await began.wait()
    async with service_engine.connect() as connection:
        ended = await connection.scalars(
            text("SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND objid = :key"),
            {"key": KEY},
        )
        assert ended.all() == [True]
    async with asyncio.timeout(10):
        with pytest.raises(LockUnavailable) as lost:
            await running
    assert was_cancelled
    assert is_unreachable(lost.value)
    await eventually(lambda: is_free(database_url))


async def test_a_database_that_is_unreachable_is_reported_as_such(database_url: str) -> None:
    with pytest.raises(LockUnavailable) as unavailable:
        await run_exclusively("postgresql+asyncpg://nobody:x@127.0.0.1:1/none", KEY, nothing)
    assert is_unreachable(unavailable.value)
