"""`Prefer: wait=SECONDS`: the response is delayed until the submission is settled."""

import asyncio

import httpx
import pytest
from httpx import AsyncClient
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

import score_maker.composition
import score_maker.http.scores.submit
from score_maker.ratings import waiters
from score_maker.ratings.domain import Verdict
from score_maker.ratings.waiters import SettlementWaiters
from score_maker.settings import Settings
from tests.support.scripted_line_provider import ScriptedLineProvider, event
from tests.support.serving import serving
from tests.support.settling import settle_all, until_queued
from tests.support.waiting import eventually

WAIT = {"Prefer": "wait=20"}
LISTENER = "query LIKE 'LISTEN %scores_settled%'"


@pytest.fixture
def unpolled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Switches polling off, so that only a notification reveals that something was settled."""
    monkeypatch.setattr(waiters, "POLL_SECONDS", 3600)


@pytest.fixture
def endless(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """A preference for waiting far longer than a test may take."""
    monkeypatch.setattr(score_maker.http.scores.submit, "LONGEST_WAIT_SECONDS", 3600)
    return {"Prefer": "wait=3600"}


@pytest.fixture
def watches(monkeypatch: pytest.MonkeyPatch) -> list[SettlementWaiters]:
    """The waiters of the services that the test starts."""
    made: list[SettlementWaiters] = []

    class Noted(SettlementWaiters):
        def __init__(self, *arguments: object, **named: object) -> None:
            super().__init__(*arguments, **named)  # type: ignore[arg-type]
            made.append(self)

    monkeypatch.setattr(score_maker.composition, "SettlementWaiters", Noted)
    return made


async def rate(api: AsyncClient, value: int, headers: dict[str, str] = WAIT, event_id: int = 1) -> httpx.Response:
    return await api.post(f"/events/{event_id}/score", json={"score": value}, headers=headers, timeout=100)


@pytest.fixture
async def rater(api: AsyncClient) -> AsyncClient:
    """A client that has identified its rater before the first rating."""
    api.headers["Authorization"] = f"Bearer {(await api.post('/raters')).json()['token']}"
    return api


@pytest.mark.usefixtures("unpolled")
async def test_a_first_rating_is_answered_201_once_confirmed_and_a_change_200(
    rater: AsyncClient, engine: AsyncEngine
) -> None:
    answers = []
    for value in (4, 2):
        waiting = asyncio.create_task(rate(rater, value))
        await until_queued(engine)
        await settle_all(engine, Verdict.APPLIED)
        answers.append(await waiting)
    assert [answer.status_code for answer in answers] == [201, 200]
    assert [(a.json()["state"], a.json()["confirmed_score"]) for a in answers] == [("confirmed", 4), ("confirmed", 2)]
    assert [answer.headers["Preference-Applied"] for answer in answers] == ["wait", "wait"]
    assert answers[0].headers["Location"] == "/events/1/score"


async def test_a_withdrawal_is_answered_200_once_it_is_withdrawn(rater: AsyncClient, engine: AsyncEngine) -> None:
    await rate(rater, 4, {})
    await settle_all(engine, Verdict.APPLIED)
    waiting = asyncio.create_task(rater.delete("/events/1/score", headers=WAIT, timeout=100))
    await until_queued(engine)
    await settle_all(engine, Verdict.APPLIED)
    answer = await waiting
    assert (answer.status_code, answer.json()["state"], answer.json()["score"]) == (200, "withdrawn", None)


@pytest.mark.parametrize(
    ("reason", "status", "kind"),
    [
        ("deadline_passed", 409, "event-closed"),
        ("event_final", 409, "event-final"),
        ("event_cancelled", 410, "event-cancelled"),
        ("event_not_found", 404, "event-not-found"),
        ("invalid", 409, "score-rejected"),
    ],
)
async def test_a_rejected_change_is_a_problem_that_shows_the_rating_that_stands_again(
    rater: AsyncClient, engine: AsyncEngine, reason: str, status: int, kind: str
) -> None:
    await rate(rater, 4, {})
    await settle_all(engine, Verdict.APPLIED)
    waiting = asyncio.create_task(rate(rater, 1))
    await until_queued(engine)
    await settle_all(engine, Verdict.REJECTED, reason)
    answer = await waiting
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.headers["Preference-Applied"] == "wait"
    problem = answer.json()
    assert (answer.status_code, problem["type"]) == (status, f"/problems/{kind}")
    assert reason in problem["detail"]
    score = problem["score"]
    assert (score["score"], score["state"], score["reason"]) == (4, "rejected", reason)
    assert score == (await rater.get("/events/1/score")).json()


async def test_a_browser_whose_first_rating_is_rejected_still_gets_its_cookie(
    api: AsyncClient, engine: AsyncEngine
) -> None:
    waiting = asyncio.create_task(rate(api, 4))
    await until_queued(engine)
    await settle_all(engine, Verdict.REJECTED, "event_cancelled")
    assert (await waiting).json()["score"]["score"] is None
    assert (await api.get("/events/1/score")).json()["state"] == "rejected"


async def test_a_wait_that_runs_out_is_answered_202_with_retry_after(rater: AsyncClient) -> None:
    for value, seconds in ((4, 0), (5, 1)):
        answer = await rate(rater, value, {"Prefer": f"wait={seconds}"})
        assert (answer.status_code, answer.json()["state"]) == (202, "pending")
        assert int(answer.headers["Retry-After"]) > 0
        assert answer.headers["Location"] == "/events/1/score"


async def test_a_request_without_the_preference_does_not_wait(rater: AsyncClient) -> None:
    for prefer in ({}, {"Prefer": "respond-async"}, {"Prefer": "wait=soon"}):
        answer = await rate(rater, 4, prefer)
        assert answer.status_code == 202
        assert "Preference-Applied" not in answer.headers


async def test_a_submission_confirmed_while_a_later_one_is_pending_is_answered_as_confirmed(
    rater: AsyncClient, engine: AsyncEngine, endless: dict[str, str]
) -> None:
    waiting = asyncio.create_task(rate(rater, 4, endless))
    await until_queued(engine)
    # Both become visible in one transaction: the first version is confirmed, and the second is pending.
    async with engine.begin() as connection:
        await connection.execute(
            text("UPDATE scores SET value = 2, version = 2, confirmed_value = 4, confirmed_version = 1")
        )
    answer = await waiting
    assert (answer.status_code, answer.json()["version"], answer.json()["state"]) == (200, 2, "pending")
    assert answer.json()["confirmed_score"] == 4


async def test_a_submission_superseded_by_a_later_one_is_answered_202_with_the_current_score(
    rater: AsyncClient, endless: dict[str, str], engine: AsyncEngine
) -> None:
    waiting = asyncio.create_task(rate(rater, 4, endless))
    await until_queued(engine)
    await rate(rater, 2, {})
    answer = await waiting
    assert (answer.status_code, answer.json()["version"], answer.json()["score"]) == (202, 2, 2)


@pytest.mark.usefixtures("unpolled")
async def test_a_broken_listening_connection_is_reopened_and_every_waiter_is_answered(
    rater: AsyncClient, engine: AsyncEngine, service_engine: AsyncEngine, endless: dict[str, str]
) -> None:
    waiting = asyncio.create_task(rate(rater, 4, endless))
    await until_queued(engine)
    async with service_engine.begin() as connection:
        broken = text(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {LISTENER}")
        assert (await connection.scalars(broken)).all() == [True]
    await settle_all(engine, Verdict.APPLIED)
    assert (await waiting).status_code == 201


async def test_polling_makes_up_for_a_lost_notification(
    rater: AsyncClient, engine: AsyncEngine, endless: dict[str, str]
) -> None:
    waiting = asyncio.create_task(rate(rater, 4, endless))
    await until_queued(engine)
    async with engine.begin() as connection:
        silently = """
            UPDATE scores SET state = 'confirmed', confirmed_value = 4, confirmed_version = 1, settled_at = now()
        """
        await connection.execute(text(silently))
    assert (await waiting).status_code == 201


async def test_a_client_that_disconnects_leaves_no_waiter_behind(
    watches: list[SettlementWaiters], settings: Settings, line_provider: ScriptedLineProvider, endless: dict[str, str]
) -> None:
    line_provider.put(event(1))
    async with serving(settings) as api:
        async with AsyncClient(base_url=api.base_url) as impatient:
            waiting = asyncio.create_task(rate(impatient, 4, endless))
            await eventually(lambda: watches[0].waiting == 1)
            waiting.cancel()
        await eventually(lambda: watches[0].waiting == 0)


async def test_a_stopping_service_answers_waiting_requests_at_once(
    watches: list[SettlementWaiters], settings: Settings, line_provider: ScriptedLineProvider, endless: dict[str, str]
) -> None:
    line_provider.put(event(1))
    async with AsyncClient() as waiting_client:
        async with serving(settings) as api:
            waiting_client.base_url = api.base_url
            waiting = asyncio.create_task(rate(waiting_client, 4, endless))
            await eventually(lambda: watches[0].waiting == 1)
        answer = await waiting
    assert (answer.status_code, answer.json()["state"]) == (202, "pending")
