"""Events over HTTP: listings, their freshness, and what is served while line_provider or Redis is unreachable."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from httpx import AsyncClient
from pydantic import SecretStr
from redis.asyncio import Redis

from score_maker.events.cache import EventCache
from score_maker.http.events.documents import EventsResource, SingleEventResource
from score_maker.settings import Settings
from scoreline.line_provider.v1 import events_pb2
from tests.support.listening import listening
from tests.support.scripted_line_provider import ScriptedLineProvider, event
from tests.support.serving import serving


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


async def test_an_event_shows_its_totals(api: AsyncClient, line_provider: ScriptedLineProvider) -> None:
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
    assert await ids(api, q="a GROUP straße") == [8]
    assert set(await ids(api, q=" ")) == {1, 2, 3, 4, 5, 8}
    assert await ids(api, q="%") == []


async def test_every_order_is_total_and_its_pages_neither_overlap_nor_leave_gaps(
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
        {"cursor": "WyJjb3VudCIsMSwxXQ"},  # a cursor of another order
    ],
)
async def test_an_invalid_parameter_is_a_problem_that_names_it(api: AsyncClient, parameters: dict[str, str]) -> None:
    response = await api.get("/events", params=parameters)
    assert (response.status_code, response.json()["type"]) == (422, "/problems/invalid-request")
    assert f"query.{next(iter(parameters))}" in response.json()["detail"]


@pytest.mark.parametrize("other", [{"sort": "newest"}, {"phase": "open"}, {"status": "PROCESSING"}, {"q": "event"}])
async def test_a_cursor_is_refused_with_other_filters_or_another_order(api: AsyncClient, other: dict[str, str]) -> None:
    cursor = (await api.get("/events", params={"limit": 2})).json()["next_cursor"]
    assert (await api.get("/events", params={"limit": 4, "cursor": cursor})).status_code == 200
    response = await api.get("/events", params={"limit": 2, "cursor": cursor, **other})
    assert (response.status_code, response.json()["type"]) == (422, "/problems/invalid-request")
    assert "query.cursor" in response.json()["detail"]


async def test_the_prior_of_the_order_top_is_configurable(
    settings: Settings, line_provider: ScriptedLineProvider
) -> None:
    line_provider.put(rated(1, 0, 0, 0, 0, 1), rated(2, 0, 0, 0, 20, 80))
    async with serving(settings) as api:
        assert await ids(api, sort="top") == [2, 1]
    async with serving(settings.model_copy(update={"top_prior_weight": 0.0})) as api:
        assert await ids(api, sort="top") == [1, 2]


@pytest.mark.parametrize("path", ["/events", "/events?sort=top&limit=2", "/events/1"])
async def test_a_response_that_the_client_already_has_is_304_until_it_changes(
    api: AsyncClient, line_provider: ScriptedLineProvider, path: str
) -> None:
    first = await api.get(path)
    etag = first.headers["ETag"]
    for known in (etag, f"W/{etag}", f'"a, b", {etag}', "*"):
        again = await api.get(path, headers={"If-None-Match": known})
        assert (again.status_code, again.content, again.headers["ETag"]) == (304, b"", etag)
        assert (again.headers["Cache-Control"], again.headers["Vary"]) == ("private, no-cache", "Cookie, Authorization")
        assert "Content-Length" not in again.headers
    unchanged = await api.get(path, headers={"If-None-Match": '"another"'})
    assert (unchanged.status_code, unchanged.content, unchanged.headers["ETag"]) == (200, first.content, etag)

    line_provider.put(event(1, revision=2, title="Moved"))

    async def moved() -> bool:
        return (await api.get(path, headers={"If-None-Match": etag})).status_code == 200

    await eventually(moved)
    assert "Moved" in (await api.get(path)).text


async def test_a_page_is_unchanged_when_other_events_change_and_the_stream_from_its_position_reports_them(
    api: AsyncClient, line_provider: ScriptedLineProvider
) -> None:
    page = await api.get("/events", params={"phase": "closed"})
    line_provider.put(event(2, revision=2, title="Not on that page"))
    await eventually(lambda: _titled(api, 2, "Not on that page"))
    same = await api.get("/events", params={"phase": "closed"}, headers={"If-None-Match": page.headers["ETag"]})
    assert same.status_code == 304
    async with listening(api, page.json()["stream_position"]) as listener:
        assert (await listener.next()).data["title"] == "Not on that page"


async def _titled(api: AsyncClient, event_id: int, title: str) -> bool:
    return bool((await api.get(f"/events/{event_id}")).json()["title"] == title)


async def test_an_unchanged_page_has_a_known_position_after_an_event_has_been_removed(
    api: AsyncClient, line_provider: ScriptedLineProvider
) -> None:
    before = (await api.get("/events", params={"phase": "closed"})).json()
    await line_provider.stop()
    del line_provider.events[3]
    await line_provider.start()
    await eventually(lambda: _not(lambda: _found(api, 3)))
    after = (await api.get("/events", params={"phase": "closed"})).json()
    assert after["events"] == before["events"]
    async with listening(api, after["stream_position"]) as listener:
        line_provider.put(event(2, revision=2))
        assert (await listener.next()).name == "event"


async def test_only_the_rater_sees_their_own_ratings_in_the_list(api: AsyncClient, settings: Settings) -> None:
    anonymous = await api.get("/events")
    assert {each["my_score"] for each in anonymous.json()["events"]} == {None}
    await api.post("/events/1/score", json={"score": 4})
    await api.post("/events/3/score", json={"score": 2})
    mine = await api.get("/events", headers={"If-None-Match": anonymous.headers["ETag"]})
    EventsResource.model_validate(mine.json(), extra="forbid")
    scores = {each["event_id"]: each["my_score"] for each in mine.json()["events"]}
    assert {event_id: score and score["score"] for event_id, score in scores.items()} == {
        1: 4,
        2: None,
        3: 2,
        4: None,
        5: None,
    }
    assert scores[1] == (await api.get("/events/1")).json()["my_score"] == (await api.get("/events/1/score")).json()
    again = await api.get("/events", headers={"If-None-Match": mine.headers["ETag"]})
    assert again.status_code == 304
    api.cookies.clear()
    assert (await api.get("/events")).content == anonymous.content


async def test_a_raters_page_is_also_unchanged_when_other_events_change(
    api: AsyncClient, line_provider: ScriptedLineProvider
) -> None:
    await api.post("/events/1/score", json={"score": 4})
    page = await api.get("/events", params={"phase": "closed"})
    line_provider.put(event(2, revision=2, title="Not on that page"))
    await eventually(lambda: _titled(api, 2, "Not on that page"))
    assert (await api.get("/events", params={"phase": "closed"})).content == page.content


async def test_events_are_served_without_the_database_and_my_ratings_are_marked_unknown(
    settings: Settings, line_provider: ScriptedLineProvider
) -> None:
    line_provider.put(event(1))
    unreachable = settings.model_copy(
        update={"database_url": SecretStr("postgresql+asyncpg://a:b@/c?host=/nonexistent")}
    )
    async with serving(unreachable) as api:
        token = (await api.post("/raters")).json()["token"]
        rater = {"Authorization": f"Bearer {token}"}
        for path, model in (("/events", EventsResource), ("/events/1", SingleEventResource)):
            response = await api.get(path, headers=rater)
            assert response.status_code == 200
            model.model_validate(response.json(), extra="forbid")
            assert response.json()["my_score_unknown"] is True
            assert (await api.get(path)).json()["my_score_unknown"] is False


async def test_an_unknown_event_is_a_problem(api: AsyncClient) -> None:
    response = await api.get("/events/99")
    assert (response.status_code, response.json()["type"]) == (404, "/problems/event-not-found")


async def test_events_are_served_stale_while_line_provider_is_unreachable_and_fresh_once_it_is_back(
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


async def test_score_maker_starts_without_line_provider_and_serves_the_events_cached_in_redis(
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
        assert "scoreline_events_stale 1.0" in (await api.get("/metrics")).text


async def _cached(cache: EventCache, revisions: dict[int, int]) -> bool:
    return {each.event_id: each.revision for each in await cache.load() or []} == revisions


async def test_events_are_received_from_a_line_provider_that_does_not_send_batches(
    settings: Settings, line_provider: ScriptedLineProvider
) -> None:
    line_provider.knows_batches = False
    line_provider.put(event(1), event(2))
    async with serving(settings) as api:
        assert await ids(api) == [1, 2]
        line_provider.put(event(3))
        await eventually(lambda: _found(api, 3))


async def test_reads_and_ratings_work_while_redis_is_unreachable(
    settings: Settings, line_provider: ScriptedLineProvider, tmp_path: Path
) -> None:
    line_provider.put(event(1))
    unreachable = Settings(**{**settings.model_dump(), "redis_url": f"unix://{tmp_path}/nobody.sock"})
    async with serving(unreachable) as api:
        assert await ids(api) == [1]
        assert (await api.post("/events/1/score", json={"score": 5})).status_code == 202
        assert (await api.get("/readyz")).json()["redis"] == "unreachable"


async def test_the_list_is_503_and_not_empty_before_any_events_are_known(
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
    events = document["paths"]["/events"]["get"]["responses"]
    assert {"200", "304", "401", "422", "503"} <= set(events)
    stream = document["paths"]["/events/stream"]["get"]["responses"]
    assert list(stream["200"]["content"]) == ["text/event-stream"]
    assert list(submit["responses"]["422"]["content"]) == ["application/problem+json"]


async def test_an_open_event_closes_when_its_deadline_passes(
    api: AsyncClient, line_provider: ScriptedLineProvider
) -> None:
    line_provider.put(event(1, deadline=datetime.now(UTC) + timedelta(milliseconds=300), revision=2))

    async def refused() -> bool:
        return (await api.post("/events/1/score", json={"score": 5})).status_code == 409

    await eventually(refused)
    assert await ids(api, phase="closed") == [4, 1]
