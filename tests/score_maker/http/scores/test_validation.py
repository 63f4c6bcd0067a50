"""Validation of submissions, and the problem that answers an invalid one.

The statuses and problems are those that the framework returned for these requests before a plain handler did.
"""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from httpx import AsyncClient

JSON = {"Content-Type": "application/json"}


@pytest.mark.parametrize(
    ("body", "headers", "status", "problem"),
    [
        ('{"score": 5}', JSON, 202, None),
        ('{"score": 5.0}', JSON, 202, None),
        (' { "score" : 1 } ', JSON, 202, None),
        ('{"score": 2, "score": 3}', JSON, 202, None),
        ('{"score": 5}' + " " * 100, JSON, 202, None),
        ('{"score": 5}', {"Content-Type": "application/json; charset=utf-8"}, 202, None),
        ('{"score": 5}', {"Content-Type": "application/vnd.ratings+json"}, 202, None),
        ('{"score": 5}', JSON | {"Prefer": "wait=0"}, 202, None),
        ('{"score": 5}', JSON | {"If-None-Match": "*"}, 202, None),
        ('{"score": 5}', JSON | {"If-Match": '"1"'}, 412, "precondition-failed"),
        ('{"score": 5}', JSON | {"If-Match": "not a tag"}, 422, "invalid-request"),
        ('{"score": 5}', {"Content-Type": "text/plain"}, 415, "not-json"),
        ('{"score": 5}', {"Content-Type": "application/jsonp"}, 415, "not-json"),
        ('{"score": 5}', {}, 415, "not-json"),
        ('{"score": 0}', JSON, 422, "invalid-request"),
        ('{"score": 6}', JSON, 422, "invalid-request"),
        ('{"score": 4.5}', JSON, 422, "invalid-request"),
        ('{"score": "5"}', JSON, 422, "invalid-request"),
        ('{"score": true}', JSON, 422, "invalid-request"),
        ('{"score": null}', JSON, 422, "invalid-request"),
        ('{"score": NaN}', JSON, 422, "invalid-request"),
        ('{"score": 5, "more": 1}', JSON, 422, "invalid-request"),
        ("{}", JSON, 422, "invalid-request"),
        ("[5]", JSON, 422, "invalid-request"),
        ("", JSON, 422, "invalid-request"),
        ("", {}, 422, "invalid-request"),
        ("{", JSON, 400, "malformed-json"),
        ("[" * 10_000, JSON, 400, "malformed-json"),
        ('{"score": 5}', JSON | {"Authorization": "Bearer nonsense"}, 401, "unknown-token"),
        # Authentication comes first.
        ('{"score": 6}', JSON | {"Authorization": "Bearer nonsense"}, 401, "unknown-token"),
    ],
)
async def test_a_submission_is_accepted_or_answered_with_its_problem(
    api: AsyncClient, body: str, headers: dict[str, str], status: int, problem: str | None
) -> None:
    answer = await api.post("/events/1/score", content=body, headers=headers)
    assert (answer.status_code, answer.json().get("type")) == (status, problem and f"/problems/{problem}")
    # A submission that is not accepted creates no rater.
    assert ("set-cookie" in answer.headers) == (status == 202)


@pytest.mark.parametrize(
    ("event_id", "status", "problem"),
    [
        ("01", 202, None),
        ("%31", 202, None),
        ("4", 409, "event-closed"),
        ("5", 410, "event-cancelled"),
        ("99", 404, "event-not-found"),
        (str(2**63 - 1), 404, "event-not-found"),
        ("0", 422, "invalid-request"),
        (str(2**63), 422, "invalid-request"),
        ("9" * 5_000, 422, "invalid-request"),
        ("one", 422, "invalid-request"),
    ],
)
async def test_an_event_id_has_to_be_a_valid_number(
    api: AsyncClient, event_id: str, status: int, problem: str | None
) -> None:
    answer = await api.post(f"/events/{event_id}/score", json={"score": 5})
    assert (answer.status_code, answer.json().get("type")) == (status, problem and f"/problems/{problem}")


async def test_a_body_may_arrive_in_chunks(api: AsyncClient) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        yield b'{"score"'
        await asyncio.sleep(0.01)
        yield b": 5}"

    answer = await api.post("/events/1/score", content=chunks(), headers=JSON)
    assert (answer.status_code, answer.json()["score"]) == (202, 5)


async def test_an_unexpected_failure_is_a_problem_with_the_usual_headers(
    api: AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(*_: object) -> None:
        raise LookupError("unexpected")

    monkeypatch.setattr("score_maker.http.scores.routes.count_write", fail)
    answer = await api.post("/events/1/score", json={"score": 5})
    assert (answer.status_code, answer.json()["type"]) == (500, "/problems/internal-error")
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["X-Request-ID"]


async def test_no_dependency_runs_in_a_thread(api: AsyncClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """Dependencies that are not asynchronous would, at a multiple of their own cost."""

    async def run_in_thread(function: Any, *_: object, **__: object) -> None:
        raise AssertionError(f"{function} runs in a thread")

    monkeypatch.setattr("fastapi.dependencies.utils.run_in_threadpool", run_in_thread)
    answers = [
        await api.post("/events/1/score", json={"score": 5}),
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
