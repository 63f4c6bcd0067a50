"""What is answered beside the framework is answered as the framework answers it."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from fastapi import FastAPI
from httpx import AsyncClient, Response
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from score_maker.http import app as http_app
from score_maker.settings import Settings
from tests.support.serving import serving

JSON = {"Content-Type": "application/json"}

# (path, body, headers)
RATINGS: list[tuple[str, str, dict[str, str]]] = [
    ("/events/1/score", '{"score": 5}', JSON),
    ("/events/1/score", '{"score": 5.0}', JSON),
    ("/events/1/score", ' { "score" : 1 } ', JSON),
    ("/events/1/score", '{"score": 2, "score": 3}', JSON),
    ("/events/1/score", '{"score": 5}', JSON | {"Prefer": "wait=0"}),
    ("/events/1/score", '{"score": 5}', JSON | {"If-Match": '"1"'}),
    ("/events/1/score", '{"score": 5}', JSON | {"If-None-Match": "*"}),
    ("/events/1/score", '{"score": 5}', JSON | {"If-Match": "not a tag"}),
    ("/events/1/score", '{"score": 5}', {"Content-Type": "application/json; charset=utf-8"}),
    ("/events/1/score", '{"score": 5}', {"Content-Type": "text/plain"}),
    ("/events/1/score", '{"score": 5}', {}),
    ("/events/1/score", '{"score": 5}' + " " * 100, JSON),
    ("/events/1/score", '{"score": 6}', JSON),
    ("/events/1/score", '{"score": 4.5}', JSON),
    ("/events/1/score", '{"score": "5"}', JSON),
    ("/events/1/score", '{"score": true}', JSON),
    ("/events/1/score", '{"score": null}', JSON),
    ("/events/1/score", '{"score": NaN}', JSON),
    ("/events/1/score", '{"score": 5, "more": 1}', JSON),
    ("/events/1/score", "{}", JSON),
    ("/events/1/score", "[5]", JSON),
    ("/events/1/score", "", JSON),
    ("/events/1/score", "{", JSON),
    ("/events/1/score", '{"score": 5}', JSON | {"Authorization": "Bearer nonsense"}),
    ("/events/4/score", '{"score": 5}', JSON),
    ("/events/5/score", '{"score": 5}', JSON),
    ("/events/99/score", '{"score": 5}', JSON),
    ("/events/0/score", '{"score": 5}', JSON),
    ("/events/01/score", '{"score": 5}', JSON),
    ("/events/%31/score", '{"score": 5}', JSON),
    ("/events/9223372036854775807/score", '{"score": 5}', JSON),
    ("/events/9223372036854775808/score", '{"score": 5}', JSON),
]


@pytest.fixture
async def framework(
    settings: Settings, api: AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[AsyncClient]:
    """Another score_maker, without the shortcuts."""
    monkeypatch.setattr(http_app, "Shortcuts", lambda app, _: app)
    async with serving(settings) as client:
        yield client


def shown(response: Response) -> dict[str, Any]:
    """All of an answer but what is another's every time."""
    unlike = {"x-request-id", "date"}
    headers = {name: value for name, value in response.headers.items() if name not in unlike}
    if "set-cookie" in headers:
        headers["set-cookie"] = headers["set-cookie"].partition(";")[2]
    body = response.json() if response.content else None
    score = body.get("score") if isinstance(body, dict) and response.is_error else body
    if isinstance(score, dict) and "accepted_at" in score:
        del score["accepted_at"], headers["etag"]
    return {"status": response.status_code, "headers": headers, "body": body}


@pytest.mark.parametrize("rating", RATINGS, ids=json.dumps)
async def test_a_rating_is_answered_alike(
    api: AsyncClient, framework: AsyncClient, engine: AsyncEngine, rating: tuple[str, str, dict[str, str]]
) -> None:
    path, body, headers = rating

    async def answers_of(client: AsyncClient) -> list[dict[str, Any]]:
        async with engine.begin() as connection:
            await connection.execute(text("TRUNCATE scores, scores_outbox"))
        client.cookies.clear()
        # The second comes with the cookie of the first, if that set one.
        return [shown(await client.post(path, content=body, headers=headers)) for _ in range(2)]

    assert await answers_of(api) == await answers_of(framework)


@pytest.mark.parametrize("query", ["", "?limit=2", "?limit=0", "?phase=open&sort=top", "?cursor=nonsense"])
@pytest.mark.parametrize("headers", [{}, {"If-None-Match": "*"}, {"Authorization": "Bearer nonsense"}])
async def test_a_list_is_answered_alike(
    api: AsyncClient, framework: AsyncClient, query: str, headers: dict[str, str]
) -> None:
    def without_position(answer: dict[str, Any]) -> dict[str, Any]:
        # Each process counts for itself.
        answer["headers"].pop("etag", None)
        if answer["body"] is not None:
            answer["body"].pop("stream_position", None)
        return answer

    for _ in range(2):
        mine = without_position(shown(await api.get(f"/events{query}", headers=headers)))
        theirs = without_position(shown(await framework.get(f"/events{query}", headers=headers)))
        assert mine == theirs


async def test_a_shortcut_is_taken_and_not_by_all(api: AsyncClient, monkeypatch: pytest.MonkeyPatch) -> None:
    left: list[str] = []

    async def left_to(app: Any, scope: Any, receive: Any, send: Any) -> None:
        left.append(f"{scope['method']} {scope['path']}")
        await original(app, scope, receive, send)

    original = FastAPI.__call__
    monkeypatch.setattr(FastAPI, "__call__", left_to)
    assert (await api.post("/events/1/score", json={"score": 5})).status_code == 202
    assert (await api.post("/events/4/score", json={"score": 5})).status_code == 409
    api.cookies.clear()
    assert [(await api.get("/events")).status_code for _ in range(2)] == [200, 200]
    assert (await api.post("/events/1/score", json={"score": 6})).status_code == 422
    assert left == ["GET /events", "POST /events/1/score"]


async def test_an_unforeseen_failure_of_a_shortcut_is_a_problem(
    api: AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(*_: object) -> None:
        raise LookupError("unforeseen")

    monkeypatch.setattr("score_maker.http.shortcuts.count_write", fail)
    response = await api.post("/events/1/score", json={"score": 5})
    assert (response.status_code, response.json()["type"]) == (500, "/problems/internal-error")
    assert response.headers["X-Content-Type-Options"] == "nosniff"


async def test_a_body_that_comes_in_pieces_is_the_frameworks(api: AsyncClient) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        yield b'{"score"'
        await asyncio.sleep(0.01)
        yield b": 5}"

    headers = JSON | {"Content-Length": "12"}
    response = await api.post("/events/1/score", content=pieces(), headers=headers)
    assert (response.status_code, response.json()["score"]) == (202, 5)


async def test_no_dependency_takes_the_way_through_a_thread(api: AsyncClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """As those do that are not asynchronous, at a multiple of their own cost."""

    async def run_in_thread(function: Any, *_: object, **__: object) -> None:
        raise AssertionError(f"{function} runs in a thread")

    monkeypatch.setattr("fastapi.dependencies.utils.run_in_threadpool", run_in_thread)
    charset = {"Content-Type": "application/json; charset=utf-8"}
    answers = [
        await api.post("/events/1/score", content='{"score": 5}', headers=charset),
        await api.get("/events?limit=1"),
        await api.get("/events/1"),
        await api.get("/events/1/score"),
        await api.get("/scores"),
        await api.put("/raters/cookie"),
        await api.delete("/events/1/score"),
        await api.delete("/scores"),
        await api.post("/raters"),
    ]
    assert [answer.is_success for answer in answers] == [True] * len(answers)
