"""The cache of events in Redis holds all of line_provider's events, or none."""

import asyncio

import pytest
from redis.asyncio import Redis

from score_maker.events.cache import EventCache
from tests.support.scripted_line_provider import event


async def test_a_flushed_cache_is_never_read_as_complete(redis: Redis) -> None:
    cache = EventCache(redis)
    assert await cache.load() is None
    await cache.replace_all([event(1), event(2)])
    await redis.flushall()
    assert not await cache.store([event(1, revision=2)])
    assert await cache.load() is None


async def test_a_new_cache_replaces_the_old_one_atomically(redis: Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("score_maker.events.cache._BATCH", 2)
    cache = EventCache(redis)
    await cache.replace_all([event(9)])
    seen: list[set[int]] = []

    async def keep_reading() -> None:
        while True:
            seen.append({each.event_id for each in await cache.load() or []})

    reading = asyncio.create_task(keep_reading())
    await cache.replace_all([event(each) for each in range(1, 8)])
    reading.cancel()
    assert {each.event_id for each in await cache.load() or []} == set(range(1, 8))
    assert all(each in ({9}, set(range(1, 8))) for each in seen)
    assert {9} in seen
    assert len(await redis.keys("*")) == 3
    assert await redis.ttl("{scoreline:events}:events") == -1
    assert await cache.store([event(each, revision=2) for each in range(1, 8)])
    assert {each.revision for each in await cache.load() or []} == {2}


async def test_a_new_cache_is_never_read_as_complete_when_redis_loses_part_of_it(
    redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("score_maker.events.cache._BATCH", 1)
    cache = EventCache(redis)
    replacing = asyncio.create_task(cache.replace_all([event(each) for each in range(1, 500)]))
    async with asyncio.timeout(20):
        while not await redis.keys("*"):
            pass
    await redis.flushall()
    assert not replacing.done()
    await replacing
    assert await cache.load() is None
    assert not await cache.store([])


async def test_the_cache_keeps_the_newest_revision_whichever_write_comes_last(redis: Redis) -> None:
    cache = EventCache(redis)
    await cache.replace_all([])
    assert await cache.load() == []
    for revision in (2, 12, 9):
        assert await cache.store([event(1, revision=revision)])
    assert [each.revision for each in await cache.load() or []] == [12]
