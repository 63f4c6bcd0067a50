"""The cache of events in Redis: it holds all events of line_provider, or nothing."""

import asyncio

import pytest
from redis.asyncio import Redis

from score_maker.events.cache import EventCache
from tests.support.scripted_line_provider import event


async def test_a_cache_that_was_flushed_is_never_taken_for_the_whole(redis: Redis) -> None:
    cache = EventCache(redis)
    assert await cache.load() is None
    await cache.replace_all([event(1), event(2)])
    await redis.flushall()
    assert not await cache.store([event(1, revision=2)])
    assert await cache.load() is None


async def test_a_whole_new_cache_takes_the_place_of_the_old_one_at_once(
    redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("score_maker.events.cache._BATCH", 2)
    cache = EventCache(redis)
    await cache.replace_all([event(9)])
    seen: list[set[int]] = []

    async def keep_looking() -> None:
        while True:
            seen.append({each.event_id for each in await cache.load() or []})

    looking = asyncio.create_task(keep_looking())
    await cache.replace_all([event(each) for each in range(1, 8)])
    looking.cancel()
    assert {each.event_id for each in await cache.load() or []} == set(range(1, 8))
    assert all(each in ({9}, set(range(1, 8))) for each in seen)
    assert {9} in seen
    assert len(await redis.keys("*")) == 3
    assert await redis.ttl("{scoreline:events}:events") == -1
    assert await cache.store([event(each, revision=2) for each in range(1, 8)])
    assert {each.revision for each in await cache.load() or []} == {2}


async def test_a_new_cache_of_which_redis_loses_a_part_is_never_taken_for_the_whole(
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


async def test_the_cache_keeps_the_newest_revision_whoever_comes_last(redis: Redis) -> None:
    cache = EventCache(redis)
    await cache.replace_all([])
    assert await cache.load() == []
    for revision in (2, 12, 9):
        assert await cache.store([event(1, revision=revision)])
    assert [each.revision for each in await cache.load() or []] == [12]
