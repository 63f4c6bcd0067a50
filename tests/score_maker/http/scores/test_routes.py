"""Raters and their ratings over HTTP. The tests settle ratings themselves, with the worker's own functions."""

from datetime import UTC, datetime
from typing import Any

import pytest
from httpx import AsyncClient
from sqlalchemy.ext.asyncio import AsyncEngine

from score_maker.http.identity import COOKIE
from score_maker.http.problems.openapi import ProblemDocument
from score_maker.http.scores.resource import ScoreResource
from score_maker.ratings.domain import Verdict
from score_maker.settings import Settings
from tests.support.scripted_line_provider import ScriptedLineProvider, event
from tests.support.serving import serving
from tests.support.settling import count_written, settle_all


async def test_a_rating_is_answered_202_with_its_location_and_the_time_until_which_it_can_change(
    api: AsyncClient,
) -> None:
    response = await api.post("/events/1/score", json={"score": 5})
    assert response.status_code == 202
    assert response.headers["Location"] == "/events/1/score"
    score = response.json()
    assert {name: score[name] for name in ("event_id", "score", "state", "version", "reason", "confirmed_score")} == {
        "event_id": 1,
        "score": 5,
        "state": "pending",
        "version": 1,
        "reason": None,
        "confirmed_score": None,
    }
    assert (
        datetime.fromisoformat(score["accepted_at"])
        <= datetime.now(UTC)
        < datetime.fromisoformat(score["mutable_until"])
    )
    assert (await api.get(response.headers["Location"])).json() == score


async def test_the_cookie_of_the_first_rating_identifies_the_rater_of_later_ones(api: AsyncClient) -> None:
    first = await api.post("/events/1/score", json={"score": 5})
    assert "HttpOnly" in first.headers["Set-Cookie"]
    assert "SameSite=lax" in first.headers["Set-Cookie"]
    second = await api.post("/events/1/score", json={"score": 2})
    assert (second.json()["version"], second.json()["score"]) == (2, 2)
    api.cookies.clear()
    assert (await api.post("/events/1/score", json={"score": 1})).json()["version"] == 1


async def test_a_client_without_cookies_rates_by_token(api: AsyncClient) -> None:
    token = (await api.post("/raters")).json()["token"]
    headers = {"Authorization": f"Bearer {token}"}
    versions = [
        (await api.post("/events/1/score", json={"score": value}, headers=headers)).json()["version"]
        for value in (3, 4)
    ]
    assert versions == [1, 2]
    assert COOKIE not in api.cookies


@pytest.mark.parametrize(
    "authorization", ["Bearer nonsense", "Bearer 3d2b8c5e-7e0a-4c37-9d9d-2a4a54f6ad3f", "Basic YTpi", "Bearer"]
)
async def test_a_token_that_the_service_did_not_sign_is_refused(
    api: AsyncClient, engine: AsyncEngine, authorization: str
) -> None:
    response = await api.post("/events/1/score", json={"score": 3}, headers={"Authorization": authorization})
    assert (response.status_code, response.json()["type"]) == (401, "/problems/unknown-token")
    assert response.headers["WWW-Authenticate"].startswith("Bearer")
    assert await count_written(engine) == (0, 0)


async def test_a_forged_cookie_gives_a_new_rater_and_never_another_ones_identity(api: AsyncClient) -> None:
    await api.post("/events/1/score", json={"score": 5})
    genuine = api.cookies[COOKIE]
    api.cookies.clear()
    # Not the last character, some bits of which are not significant.
    rater_id, _, signature = genuine.partition(".")
    forged = f"{rater_id}.{'A' if signature[0] != 'A' else 'B'}{signature[1:]}"
    response = await api.post("/events/1/score", json={"score": 1}, headers={"Cookie": f"{COOKIE}={forged}"})
    assert response.json()["version"] == 1
    assert response.cookies[COOKIE] not in {genuine, forged}


async def test_a_withdrawal_is_pending_until_decided_and_can_be_repeated(api: AsyncClient, engine: AsyncEngine) -> None:
    await api.post("/events/1/score", json={"score": 5})
    await settle_all(engine, Verdict.APPLIED)
    withdrawn = await api.delete("/events/1/score")
    assert (withdrawn.status_code, withdrawn.json()["score"], withdrawn.json()["state"]) == (202, None, "pending")
    await settle_all(engine, Verdict.APPLIED)
    repeated = await api.delete("/events/1/score")
    assert (repeated.status_code, repeated.json()["state"], repeated.json()["version"]) == (200, "withdrawn", 2)


async def test_repeating_a_rating_creates_no_new_version_and_returns_its_state(
    api: AsyncClient, engine: AsyncEngine
) -> None:
    first = await api.post("/events/1/score", json={"score": 5})
    repeated = await api.post("/events/1/score", json={"score": 5})
    assert (repeated.status_code, repeated.json()) == (202, first.json())
    assert await count_written(engine) == (1, 1)
    await settle_all(engine, Verdict.APPLIED)
    later = await api.post("/events/1/score", json={"score": 5})
    assert (later.status_code, later.json()["state"], later.json()["version"]) == (200, "confirmed", 1)
    assert await count_written(engine) == (1, 0)


async def test_a_withdrawal_repeated_before_it_is_settled_is_still_pending(
    api: AsyncClient, engine: AsyncEngine
) -> None:
    await api.post("/events/1/score", json={"score": 5})
    withdrawn = await api.delete("/events/1/score")
    repeated = await api.delete("/events/1/score")
    assert (repeated.status_code, repeated.json()) == (202, withdrawn.json())
    assert await count_written(engine) == (1, 2)


async def test_repeating_a_rejected_rating_submits_it_again(api: AsyncClient, engine: AsyncEngine) -> None:
    await api.post("/events/1/score", json={"score": 5})
    await settle_all(engine, Verdict.REJECTED, "event_not_found")
    again = await api.post("/events/1/score", json={"score": 5})
    assert (again.status_code, again.json()["state"], again.json()["version"]) == (202, "pending", 2)


async def test_a_rejection_shows_its_reason_and_the_confirmed_rating_stands_again(
    api: AsyncClient, engine: AsyncEngine
) -> None:
    await api.post("/events/1/score", json={"score": 4})
    await settle_all(engine, Verdict.APPLIED)
    await api.post("/events/1/score", json={"score": 1})
    await settle_all(engine, Verdict.REJECTED, "event_cancelled")
    score = (await api.get("/events/1/score")).json()
    assert (score["score"], score["confirmed_score"], score["state"], score["reason"]) == (
        4,
        4,
        "rejected",
        "event_cancelled",
    )


async def test_my_ratings_are_listed_newest_first_in_pages_and_are_only_mine(api: AsyncClient) -> None:
    other = (await api.post("/raters")).json()["token"]
    await api.post("/events/3/score", json={"score": 1}, headers={"Authorization": f"Bearer {other}"})
    assert (await api.get("/scores")).json() == {"scores": [], "next_cursor": None}
    for event_id in (1, 2, 3):
        await api.post(f"/events/{event_id}/score", json={"score": event_id})
    first = (await api.get("/scores", params={"limit": 2})).json()
    second = (await api.get("/scores", params={"limit": 2, "cursor": first["next_cursor"]})).json()
    assert [score["event_id"] for score in first["scores"] + second["scores"]] == [3, 2, 1]
    assert second["next_cursor"] is None


async def test_paging_through_my_ratings_is_unaffected_by_new_ones(
    api: AsyncClient, line_provider: ScriptedLineProvider, engine: AsyncEngine
) -> None:
    line_provider.put(event(6), event(7))
    for event_id in (1, 2, 3, 6):
        await api.post(f"/events/{event_id}/score", json={"score": 3})
    first = (await api.get("/scores", params={"limit": 2})).json()
    await api.post("/events/7/score", json={"score": 5})
    await api.post("/events/6/score", json={"score": 5})
    await settle_all(engine, Verdict.APPLIED)
    second = (await api.get("/scores", params={"limit": 2, "cursor": first["next_cursor"]})).json()
    assert [score["event_id"] for score in first["scores"] + second["scores"]] == [6, 3, 2, 1]
    anew = (await api.get("/scores")).json()
    assert [score["event_id"] for score in anew["scores"]] == [6, 7, 3, 2, 1]


async def test_every_response_about_scores_has_a_valid_example_in_the_documentation(api: AsyncClient) -> None:
    document = (await api.get("/openapi.json")).json()
    answers = {
        (method, path): operation["responses"]
        for path, operations in document["paths"].items()
        for method, operation in operations.items()
        if operation.get("tags") == ["scores"]
    }
    assert len(answers) == 5
    assert {"200", "201", "202", "404", "409", "410", "412", "422", "503"} <= set(
        answers["post", "/events/{event_id}/score"]
    )
    for responses in answers.values():
        for status, response in responses.items():
            assert response["description"] != "Successful Response"
            if status == "304":
                continue
            ((media_type, content),) = response["content"].items()
            if media_type == "application/problem+json":
                for example in content["examples"].values():
                    ProblemDocument.model_validate(example["value"], extra="forbid")
                    assert str(example["value"]["status"]) == status
            elif "example" in content:
                # FastAPI omits null values from the document.
                example = dict.fromkeys(ScoreResource.model_fields) | content["example"]
                ScoreResource.model_validate(example, extra="forbid")
            else:
                name = content["schema"]["$ref"].rpartition("/")[2]
                assert "example" in document["components"]["schemas"][name]


BAD_BODIES: list[tuple[str, bytes]] = [
    ("zero", b'{"score": 0}'),
    ("six", b'{"score": 6}'),
    ("a fraction", b'{"score": 4.5}'),
    ("text", b'{"score": "5"}'),
    ("null", b'{"score": null}'),
    ("true", b'{"score": true}'),
    ("missing", b"{}"),
    ("huge", b'{"score": ' + b"9" * 4000 + b"}"),
    ("beyond any integer", b'{"score": ' + b"9" * 5000 + b"}"),
    ("negative", b'{"score": -1}'),
    ("an unknown field", b'{"score": 5, "rater_id": "me"}'),
    ("a list", b"[5]"),
    ("a number", b"5"),
    ("malformed", b'{"score": 5'),
    ("not UTF-8", b'{"score": "\xff"}'),
    ("nested too deeply", b"[" * 10_000),
    ("empty", b""),
]


@pytest.mark.parametrize("body", [body for _, body in BAD_BODIES], ids=[name for name, _ in BAD_BODIES])
async def test_an_invalid_rating_is_a_problem_that_says_what_to_do_and_writes_nothing(
    api: AsyncClient, engine: AsyncEngine, body: bytes
) -> None:
    response = await api.post("/events/1/score", content=body, headers={"Content-Type": "application/json"})
    assert response.status_code in {400, 422}
    assert response.headers["Content-Type"] == "application/problem+json"
    problem = response.json()
    assert problem["status"] == response.status_code
    assert problem["instance"] == "/events/1/score"
    assert len(problem["detail"]) > 10
    assert "Traceback" not in response.text
    assert await count_written(engine) == (0, 0)


async def test_a_body_without_the_media_type_of_json_is_refused(api: AsyncClient, engine: AsyncEngine) -> None:
    for headers in ({"Content-Type": "text/plain"}, {"Content-Type": "application/x-www-form-urlencoded"}, {}):
        response = await api.post("/events/1/score", content=b'{"score": 5}', headers=headers)
        assert (response.status_code, response.json()["type"]) == (415, "/problems/not-json")
    assert await count_written(engine) == (0, 0)


@pytest.mark.parametrize("event_id", ["-1", "0", "abc", "1.5", str(2**63), "9" * 5000, "%00"])
async def test_an_impossible_event_id_is_a_problem(api: AsyncClient, engine: AsyncEngine, event_id: str) -> None:
    for method, path, body in (
        ("GET", "", None),
        ("GET", "/score", None),
        ("POST", "/score", {"score": 5}),
        ("DELETE", "/score", None),
    ):
        response = await api.request(method, f"/events/{event_id}{path}", json=body)
        assert (response.status_code, response.json()["type"]) == (422, "/problems/invalid-request")
        assert "event_id" in response.json()["detail"]
    assert await count_written(engine) == (0, 0)


@pytest.mark.parametrize(
    ("event_id", "status", "kind"),
    [(99, 404, "event-not-found"), (4, 409, "event-closed"), (5, 410, "event-cancelled"), (6, 409, "event-final")],
)
async def test_a_rating_of_an_event_that_accepts_none_is_refused_at_once(
    api: AsyncClient,
    engine: AsyncEngine,
    line_provider: ScriptedLineProvider,
    event_id: int,
    status: int,
    kind: str,
) -> None:
    line_provider.unannounced[6] = event(6, finalized_at=datetime.now(UTC))
    response = await api.post(f"/events/{event_id}/score", json={"score": 5})
    assert (response.status_code, response.json()["type"]) == (status, f"/problems/{kind}")
    assert str(event_id) in response.json()["detail"]
    assert await count_written(engine) == (0, 0)


async def test_a_new_event_can_be_rated_before_the_watch_has_reported_it(
    api: AsyncClient, line_provider: ScriptedLineProvider
) -> None:
    line_provider.unannounced[77] = event(77)
    assert (await api.post("/events/77/score", json={"score": 5})).status_code == 202


async def test_a_rating_is_accepted_if_its_event_cannot_be_looked_up(
    settings: Settings, line_provider: ScriptedLineProvider, engine: AsyncEngine
) -> None:
    await line_provider.stop()
    async with serving(settings) as api:
        response = await api.post("/events/12345/score", json={"score": 5})
        assert (response.status_code, response.json()["mutable_until"]) == (202, None)
        assert (await api.get("/readyz")).json() == {
            "status": "ready",
            "database": "ok",
            "line_provider": "unreachable",
            "redis": "ok",
            "ended_task": None,
        }
    assert await count_written(engine) == (1, 1)


async def test_an_unreachable_database_is_503_and_the_process_stays_alive(
    settings: Settings, line_provider: ScriptedLineProvider
) -> None:
    line_provider.put(event(1))
    unreachable = Settings(**{**settings.model_dump(), "database_url": "postgresql://a:b@/c?host=/nonexistent"})
    async with serving(unreachable) as api:
        response = await api.post("/events/1/score", json={"score": 5})
        assert (response.status_code, response.json()["type"]) == (503, "/problems/unavailable")
        assert int(response.headers["Retry-After"]) > 0
        assert (await api.get("/scores", headers={"Cookie": ""})).status_code == 200
        assert (await api.get("/readyz")).status_code == 503
        assert (await api.get("/healthz")).status_code == 200


async def test_a_missing_score_is_distinguished_from_a_missing_event(api: AsyncClient) -> None:
    for method in ("GET", "DELETE"):
        response = await api.request(method, "/events/1/score")
        assert (response.status_code, response.json()["type"]) == (404, "/problems/score-not-found")
    await api.post("/events/1/score", json={"score": 5})
    response = await api.get("/events/2/score")
    assert (response.status_code, response.json()["type"]) == (404, "/problems/score-not-found")


async def test_requests_that_the_framework_refuses_are_problems_too(api: AsyncClient) -> None:
    missing: Any = await api.get("/nowhere")
    assert (missing.status_code, missing.json()["type"]) == (404, "/problems/not-found")
    wrong = await api.put("/events/1/score", json={"score": 5})
    assert (wrong.status_code, wrong.json()["type"]) == (405, "/problems/method-not-allowed")
    assert wrong.headers["Allow"] == "GET, POST, DELETE"


async def test_the_instance_of_a_problem_is_a_valid_uri_even_if_the_request_had_an_invalid_one(
    api: AsyncClient,
) -> None:
    problem = (await api.get('/events/%F3%96%8A%88 |"%00')).json()
    assert problem["instance"] == "/events/%F3%96%8A%88%20%7C%22%00"


async def test_a_whole_number_is_accepted_in_every_notation_of_json(api: AsyncClient) -> None:
    for body in (b'{"score": 4.0}', b'{"score": 40e-1}'):
        response = await api.post("/events/1/score", content=body, headers={"Content-Type": "application/json"})
        assert (response.status_code, response.json()["score"]) == (202, 4)


async def test_every_problem_type_is_documented_at_its_address(api: AsyncClient) -> None:
    problem = (await api.post("/events/1/score", json={"score": 6})).json()
    documentation = await api.get(problem["type"])
    assert documentation.status_code == 200
    assert problem["title"] in documentation.text
    assert (await api.get("/problems/unheard-of")).status_code == 404
