"""Events over HTTP: what is listed, how fresh it is, and what is served while line_provider or Redis is away."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from httpx import AsyncClient
from redis.asyncio import Redis
from scripted_line_provider import ScriptedLineProvider, event
from serving import serving

from score_maker.event_cache import EventCache
from score_maker.settings import Settings
from scoreline.line_provider.v1 import events_pb2


async def ids(api: AsyncClient, **parameters: Any) -> list[int]:
    response = await api.get("/events", params=parameters)
    assert response.status_code == 200, response.text
    return [each["event_id"] for each in response.json()["events"]]


async def eventually(condition: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(20):
        while not await condition():
            await asyncio.sleep(0.01)


def rated(event_id: int, *histogram: int, **fields: Any) -> events_pb2.Event:
    count = sum(histogram)
    total = sum(value * number for value, number in enumerate(histogram, start=1))
    status = events_pb2.EVENT_STATUS_HIGH_SCORE if total >= 3 * count else events_pb2.EVENT_STATUS_LOW_SCORE
    totals = events_pb2.ScoreTotals(count=count, sum=total, histogram=histogram)
    return event(event_id, status=status, totals=totals, **fields)


async def test_an_event_shows_its_figures(api: AsyncClient, line_provider: ScriptedLineProvider) -> None:
    line_provider.put(rated(7, 0, 0, 0, 1, 1, title="Mexico – South Africa", revision=2))
    await eventually(lambda: _found(api, 7))
    response = await api.get("/events/7")
    shown = response.json()
    assert (shown["title"], shown["status"], shown["phase"]) == ("Mexico – South Africa", "HIGH_SCORE", "open")
    assert (shown["average"], shown["score_count"], shown["histogram"]) == (4.5, 2, [0, 0, 0, 1, 1])
    assert (shown["my_score"], shown["stale"]) == (None, False)
    listed = (await api.get("/events", params={"q": "mexico"})).json()["events"]
    assert listed == [{name: value for name, value in shown.items() if name not in {"my_score_unknown", "stale"}}]


async def _found(api: AsyncClient, event_id: int) -> bool:
    return event_id in await ids(api)


async def test_an_event_shows_my_own_rating(api: AsyncClient) -> None:
    await api.post("/events/1/score", json={"score": 4})
    mine = (await api.get("/events/1")).json()["my_score"]
    assert (mine["score"], mine["state"]) == (4, "pending")


async def test_events_are_filtered_by_phase_status_and_text(
    api: AsyncClient, line_provider: ScriptedLineProvider
) -> None:
    line_provider.put(rated(8, 1, 0, 0, 0, 0, title="Straße", description="Group A"))
    await eventually(lambda: _found(api, 8))
    assert await ids(api, phase="closed") == [4]
    assert await ids(api, phase="cancelled") == [5]
    assert set(await ids(api, phase="open")) == {1, 2, 3, 8}
    assert await ids(api, status="LOW_SCORE") == [8]
    assert await ids(api, q="STRASSE") == [8]
    assert await ids(api, q="group a") == [8]
    assert await ids(api, q="%") == []


async def test_every_order_is_total_and_pages_follow_each_other(
    api: AsyncClient, line_provider: ScriptedLineProvider
) -> None:
    line_provider.put(rated(8, 1, 0, 0, 0, 0), rated(9, 0, 0, 0, 0, 2), rated(10, 0, 0, 0, 0, 1))
    await eventually(lambda: _found(api, 10))
    for sort in ("deadline", "starts_at", "average", "top", "count", "newest"):
        whole = await ids(api, sort=sort)
        assert len(whole) == 8
        paged: list[int] = []
        cursor: dict[str, str] = {}
        while True:
            page = (await api.get("/events", params={"sort": sort, "limit": 3, **cursor})).json()
            paged += [each["event_id"] for each in page["events"]]
            if page["next_cursor"] is None:
                break
            cursor = {"cursor": page["next_cursor"]}
        assert paged == whole
    assert (await ids(api, sort="average"))[:3] == [9, 10, 8]
    assert (await ids(api, sort="count"))[:3] == [9, 8, 10]
    assert (await ids(api, sort="deadline", phase="open"))[-1] == 3


@pytest.mark.parametrize(
    "parameters",
    [
        {"limit": "0"},
        {"limit": "100000"},
        {"limit": "many"},
        {"sort": "sideways"},
        {"status": "GOOD"},
        {"phase": "ajar"},
        {"q": "x" * 201},
        {"cursor": "nonsense"},
        {"cursor": "é"},
        {"cursor": "bnVsbA"},
        {"cursor": "WyJjb3VudCIsMSwxXQ"},  # one of another order
    ],
)
async def test_a_bad_parameter_is_a_problem_that_names_it(api: AsyncClient, parameters: dict[str, str]) -> None:
    response = await api.get("/events", params=parameters)
    assert (response.status_code, response.json()["type"]) == (422, "/problems/invalid-request")
    assert f"query.{next(iter(parameters))}" in response.json()["detail"]


async def test_an_unknown_event_is_a_problem(api: AsyncClient) -> None:
    response = await api.get("/events/99")
    assert (response.status_code, response.json()["type"]) == (404, "/problems/event-not-found")


async def test_events_are_served_stale_while_line_provider_is_away_and_fresh_once_it_is_back(
    api: AsyncClient, line_provider: ScriptedLineProvider
) -> None:
    async def stale() -> bool:
        return bool((await api.get("/events")).json()["stale"])

    assert not await stale()
    await line_provider.stop()
    await eventually(stale)
    assert len(await ids(api)) == 5
    assert (await api.post("/events/1/score", json={"score": 5})).status_code == 202
    assert (await api.post("/events/4/score", json={"score": 5})).status_code == 409

    del line_provider.events[3]
    line_provider.put(rated(2, 0, 0, 0, 0, 1, revision=2))
    await line_provider.start()
    await eventually(lambda: _not(stale))
    assert set(await ids(api)) == {1, 2, 4, 5}
    assert (await api.get("/events/2")).json()["score_count"] == 1


async def _not(condition: Callable[[], Awaitable[bool]]) -> bool:
    return not await condition()


async def test_a_score_maker_that_starts_while_line_provider_is_away_serves_what_redis_kept(
    settings: Settings, line_provider: ScriptedLineProvider, redis: Redis
) -> None:
    cache = EventCache(redis)
    line_provider.put(event(1), event(2))
    async with serving(settings):
        await eventually(lambda: _cached(cache, {1: 1, 2: 1}))
        line_provider.put(event(2, revision=5))
        await eventually(lambda: _cached(cache, {1: 1, 2: 5}))
    await line_provider.stop()
    async with serving(settings) as api:
        listing = (await api.get("/events")).json()
        assert (len(listing["events"]), listing["stale"]) == (2, True)


async def _cached(cache: EventCache, revisions: dict[int, int]) -> bool:
    return {each.event_id: each.revision for each in await cache.load() or []} == revisions


async def test_a_cache_that_was_flushed_is_never_taken_for_the_whole(redis: Redis) -> None:
    cache = EventCache(redis)
    assert await cache.load() is None
    await cache.replace_all([event(1), event(2)])
    await redis.flushall()
    assert not await cache.store([event(1, revision=2)])
    assert await cache.load() is None


async def test_the_cache_keeps_the_newest_revision_whoever_comes_last(redis: Redis) -> None:
    cache = EventCache(redis)
    await cache.replace_all([])
    assert await cache.load() == []
    for revision in (2, 12, 9):
        assert await cache.store([event(1, revision=revision)])
    assert [each.revision for each in await cache.load() or []] == [12]


async def test_reads_and_ratings_go_on_while_redis_is_away(
    settings: Settings, line_provider: ScriptedLineProvider, tmp_path: Path
) -> None:
    line_provider.put(event(1))
    away = Settings(**{**settings.model_dump(), "redis_url": f"unix://{tmp_path}/nobody.sock"})
    async with serving(away) as api:
        assert await ids(api) == [1]
        assert (await api.post("/events/1/score", json={"score": 5})).status_code == 202
        assert (await api.get("/readyz")).json()["redis"] == "away"


async def test_events_that_were_never_known_are_503_not_an_empty_list(
    settings: Settings, line_provider: ScriptedLineProvider
) -> None:
    await line_provider.stop()
    async with serving(settings) as api:
        for path in ("/events", "/events/1"):
            response = await api.get(path)
            assert (response.status_code, response.json()["type"]) == (503, "/problems/unavailable")


async def test_the_documentation_lists_every_operation_with_its_problems(api: AsyncClient) -> None:
    assert (await api.get("/docs")).status_code == 200
    document = (await api.get("/openapi.json")).json()
    submit = document["paths"]["/events/{event_id}/score"]["post"]
    assert {"202", "400", "401", "404", "409", "410", "415", "422", "503"} <= set(submit["responses"])
    assert list(submit["responses"]["422"]["content"]) == ["application/problem+json"]


async def test_an_open_event_closes_when_its_deadline_passes(
    api: AsyncClient, line_provider: ScriptedLineProvider
) -> None:
    line_provider.put(event(1, deadline=datetime.now(UTC) + timedelta(milliseconds=300), revision=2))

    async def refused() -> bool:
        return (await api.post("/events/1/score", json={"score": 5})).status_code == 409

    await eventually(refused)
    assert await ids(api, phase="closed") == [4, 1]
