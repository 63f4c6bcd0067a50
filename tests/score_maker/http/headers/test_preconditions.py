"""Entity tags of scores, and the requests that are conditional on them."""

from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from httpx import AsyncClient
from sqlalchemy.ext.asyncio import AsyncEngine

from score_maker.ratings.domain import Verdict
from tests.support.rating import rate
from tests.support.scripted_line_provider import ScriptedLineProvider, event
from tests.support.settling import count_written, settle_all
from tests.support.waiting import until


async def rate_if(api: AsyncClient, value: int, **conditions: str) -> httpx.Response:
    """Submits a rating with the given conditions: `If_Match` or `If_None_Match`."""
    return await rate(api, value, headers={name.replace("_", "-"): each for name, each in conditions.items()})


async def read(api: AsyncClient, etag: str | None = None) -> httpx.Response:
    return await api.get("/events/1/score", headers={} if etag is None else {"If-None-Match": etag})


async def test_a_tag_starts_with_the_version_and_changes_whenever_the_response_does(
    api: AsyncClient, engine: AsyncEngine, line_provider: ScriptedLineProvider
) -> None:
    tags = [(await rate(api, 5)).headers["ETag"]]
    assert (await read(api)).headers["ETag"] == tags[0]
    await settle_all(engine, Verdict.APPLIED)
    tags.append((await read(api)).headers["ETag"])
    line_provider.put(event(1, deadline=datetime.now(UTC) + timedelta(days=1), revision=2))
    moved = await until(lambda: read(api), lambda answer: answer.headers["ETag"] not in tags)
    tags.append(moved.headers["ETag"])
    assert all(tag.startswith('"1-') for tag in tags)
    tags.append((await rate(api, 2)).headers["ETag"])
    assert tags[-1].startswith('"2-')
    assert len(set(tags)) == 4
    assert (await api.delete("/events/1/score")).headers["ETag"].startswith('"3-')


async def test_a_reader_who_already_has_the_score_gets_304(api: AsyncClient, engine: AsyncEngine) -> None:
    etag = (await rate(api, 5)).headers["ETag"]
    for known in (etag, f"W/{etag}", f'"1-0", {etag}', "*"):
        answer = await read(api, known)
        assert (answer.status_code, answer.content, answer.headers["ETag"]) == (304, b"", etag)
    assert (await read(api, '"1"')).status_code == 200
    await settle_all(engine, Verdict.APPLIED)
    answer = await read(api, etag)
    assert (answer.status_code, answer.json()["state"]) == (200, "confirmed")
    assert "private" in answer.headers["Cache-Control"]


async def test_a_change_that_requires_another_version_is_refused(api: AsyncClient, engine: AsyncEngine) -> None:
    etag = (await rate(api, 5)).headers["ETag"]
    await rate(api, 4)
    for required in (etag, '"1"', '"3", "17-ab"', 'W/"2"', '"whatever"', '"02"'):
        refused = await rate_if(api, 1, If_Match=required)
        problem = refused.json()
        assert (refused.status_code, problem["type"]) == (412, "/problems/precondition-failed")
        assert (problem["score"]["version"], problem["score"]["score"]) == (2, 4)
        assert refused.headers["ETag"] == (await read(api)).headers["ETag"]
        assert (await api.delete("/events/1/score", headers={"If-Match": required})).status_code == 412
    assert await count_written(engine) == (1, 2)


async def test_a_change_that_requires_the_current_version_is_accepted_even_if_it_was_settled_meanwhile(
    api: AsyncClient, engine: AsyncEngine
) -> None:
    etag = (await rate(api, 5)).headers["ETag"]
    await settle_all(engine, Verdict.APPLIED)
    second = await rate_if(api, 4, If_Match=etag)
    assert (second.status_code, second.json()["version"]) == (202, 2)
    assert (await rate_if(api, 3, If_Match='"1", "2"')).json()["version"] == 3
    assert (await rate_if(api, 2, If_Match="*")).json()["version"] == 4
    withdrawn = await api.delete("/events/1/score", headers={"If-Match": '"4"'})
    assert (withdrawn.status_code, withdrawn.json()["version"]) == (202, 5)


async def test_a_rating_can_require_that_there_is_no_score_yet(api: AsyncClient) -> None:
    assert (await rate_if(api, 5, If_None_Match="*")).status_code == 202
    refused = await rate_if(api, 4, If_None_Match="*")
    assert (refused.status_code, refused.json()["score"]["score"]) == (412, 5)
    assert (await rate_if(api, 4, If_None_Match='W/"1"')).status_code == 412
    assert (await rate_if(api, 4, If_None_Match='"2"')).status_code == 202


async def test_a_condition_on_a_score_that_does_not_exist_fails(api: AsyncClient) -> None:
    refused = await rate_if(api, 5, If_Match="*")
    assert (refused.status_code, refused.json()["type"]) == (412, "/problems/precondition-failed")
    assert "score" not in refused.json()


@pytest.mark.parametrize("condition", ["3", '"3', "3-ab", '"1" "2', "*, *"])
async def test_a_malformed_condition_is_refused_instead_of_ignored(
    api: AsyncClient, engine: AsyncEngine, condition: str
) -> None:
    for name in ("If-Match", "If-None-Match"):
        refused = await rate(api, 5, headers={name: condition})
        problem: dict[str, Any] = refused.json()
        assert (refused.status_code, problem["type"]) == (422, "/problems/invalid-request")
        assert name in problem["detail"]
    assert await count_written(engine) == (0, 0)
