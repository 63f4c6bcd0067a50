"""Erasure: open ratings are withdrawn, and nothing more is accepted from or shown to the rater."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest
from httpx import AsyncClient
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from score_maker.http.identity import COOKIE
from score_maker.ratings import accept, erasure, queries
from score_maker.ratings.accept import Submission
from score_maker.ratings.domain import Refusal, Score, State, Verdict
from tests.support.scripted_line_provider import ScriptedLineProvider, event
from tests.support.settling import count_written, settle_all


async def rate(engine: AsyncEngine, rater: UUID, event_ids: Sequence[int], value: int = 4) -> None:
    async with engine.begin() as connection:
        for event_id in event_ids:
            await accept.submit(connection, [Submission(event_id=event_id, rater_id=rater, value=value, deadline=None)])


async def recorded(engine: AsyncEngine, rater: UUID) -> dict[int, tuple[str, int | None, int | None, int]]:
    """State, value, confirmed value and version of each event's score."""
    async with engine.connect() as connection:
        rows = await connection.execute(text("SELECT * FROM scores WHERE rater_id = :rater_id"), {"rater_id": rater})
        return {row.event_id: (row.state, row.value, row.confirmed_value, row.version) for row in rows}


async def execute(engine: AsyncEngine, statement: str) -> None:
    async with engine.begin() as connection:
        await connection.execute(text(statement))


async def record_only(engine: AsyncEngine, rater: UUID) -> None:
    """Records an erasure, as a process does that dies right afterwards."""
    async with engine.begin() as connection:
        await connection.execute(
            text("INSERT INTO forgotten_raters (rater_id, forgotten_at) VALUES (:rater_id, now())"), {"rater_id": rater}
        )


async def test_all_ratings_but_the_final_ones_are_withdrawn_in_batches(
    engine: AsyncEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(erasure, "BATCH", 2)
    rater, other = uuid4(), uuid4()
    await rate(engine, rater, range(1, 7))
    await rate(engine, other, range(1, 7))
    await settle_all(engine, Verdict.APPLIED)
    await execute(engine, "INSERT INTO final_results VALUES (6, 2, 8, now())")
    assert sorted(await erasure.erase(engine, rater)) == [1, 2, 3, 4, 5, 6]
    expected = dict.fromkeys(range(1, 6), ("pending", None, 4, 2)) | {6: ("confirmed", 4, 4, 1)}
    assert await recorded(engine, rater) == expected
    assert await count_written(engine) == (12, 5)
    assert set((await recorded(engine, other)).values()) == {("confirmed", 4, 4, 1)}


async def test_a_withdrawal_that_line_provider_rejects_is_not_repeated_and_the_rating_still_counts(
    engine: AsyncEngine,
) -> None:
    rater = uuid4()
    await rate(engine, rater, [1])
    await settle_all(engine, Verdict.APPLIED)
    await erasure.erase(engine, rater)
    await settle_all(engine, Verdict.REJECTED, "deadline_passed")
    assert await recorded(engine, rater) == {1: ("rejected", 4, 4, 2)}
    assert await erasure.finish(engine) == 0
    assert await erasure.erase(engine, rater) == []
    assert await count_written(engine) == (1, 0)


async def test_the_worker_finishes_an_erasure_whose_process_died(engine: AsyncEngine) -> None:
    rater = uuid4()
    await rate(engine, rater, [1, 2])
    await record_only(engine, rater)
    assert await erasure.finish(engine) == 2
    assert {state for state, *_ in (await recorded(engine, rater)).values()} == {"pending"}
    assert await erasure.finish(engine) == 0


async def test_a_rating_in_flight_during_the_erasure_is_withdrawn_too(
    engine: AsyncEngine,
) -> None:
    rater = uuid4()
    async with engine.begin() as connection:
        await accept.submit(connection, [Submission(event_id=1, rater_id=rater, value=5, deadline=None)])
        await erasure.erase(engine, rater)
    assert await recorded(engine, rater) == {1: ("pending", 5, None, 1)}
    assert await erasure.finish(engine) == 1
    assert await recorded(engine, rater) == {1: ("pending", None, None, 2)}


async def test_an_erasure_is_repeated_until_no_rating_can_be_in_flight(engine: AsyncEngine) -> None:
    rater = uuid4()
    await erasure.erase(engine, rater)

    async def is_finished() -> bool:
        async with engine.connect() as connection:
            return bool(await connection.scalar(text("SELECT finished_at IS NOT NULL FROM forgotten_raters")))

    await erasure.finish(engine)
    assert not await is_finished()
    await execute(engine, "UPDATE forgotten_raters SET forgotten_at = forgotten_at - interval '3 minutes'")
    await erasure.finish(engine)
    assert await is_finished()


async def test_nothing_is_accepted_from_or_shown_to_an_erased_rater(engine: AsyncEngine) -> None:
    rater = uuid4()
    await rate(engine, rater, [1])
    await erasure.erase(engine, rater)
    async with engine.begin() as connection:
        outcomes = await accept.submit(
            connection,
            [
                Submission(event_id=1, rater_id=rater, value=5, deadline=None),
                Submission(event_id=1, rater_id=uuid4(), value=5, deadline=None),
                Submission(event_id=2, rater_id=rater, value=None, deadline=None),
            ],
        )
        assert await queries.get(connection, 1, rater) is None
        assert await queries.list_of_rater(connection, rater, limit=10) == []
    assert outcomes[0] is outcomes[2] is Refusal.RATER_ERASED
    assert isinstance(outcomes[1], Score)


async def test_an_erasure_deletes_the_browsers_cookie_and_its_next_rating_is_another_raters(
    api: AsyncClient, line_provider: ScriptedLineProvider, engine: AsyncEngine
) -> None:
    line_provider.put(event(6))
    for event_id in (1, 2, 6):
        await api.post(f"/events/{event_id}/score", json={"score": 4})
    await settle_all(engine, Verdict.APPLIED)
    line_provider.put(event(6, deadline=datetime.now(UTC) - timedelta(minutes=1), revision=2))
    async with asyncio.timeout(60):
        while (await api.get("/events/6")).json()["phase"] != "closed":
            await asyncio.sleep(0.01)
    old = {"Cookie": f"{COOKIE}={api.cookies[COOKIE]}"}

    erased = await api.delete("/scores")
    assert (erased.status_code, erased.json()) == (202, {"withdrawn": 2, "anonymised": 1})
    assert COOKIE not in api.cookies
    assert (await count_written(engine))[1] == 3

    for headers in ({}, old):
        assert (await api.get("/scores", headers=headers)).json()["scores"] == []
        assert (await api.get("/events/1/score", headers=headers)).status_code == 404
        assert (await api.get("/events/1", headers=headers)).json()["my_score"] is None
        assert (await api.delete("/events/1/score", headers=headers)).status_code == 404
        assert (await api.delete("/scores", headers=headers)).json() == {"withdrawn": 0, "anonymised": 0}
        api.cookies.clear()

    anew = await api.post("/events/1/score", json={"score": 2}, headers=old)
    assert (anew.status_code, anew.json()["version"], anew.json()["confirmed_score"]) == (202, 1, None)
    (cookie,) = anew.headers.get_list("Set-Cookie")
    assert old["Cookie"] not in cookie
    assert [score["event_id"] for score in (await api.get("/scores")).json()["scores"]] == [1]


async def test_a_token_of_an_erased_rater_is_refused_like_an_invalid_one(api: AsyncClient) -> None:
    token = (await api.post("/raters")).json()["token"]
    headers = {"Authorization": f"Bearer {token}"}
    await api.post("/events/1/score", json={"score": 4}, headers=headers)
    await api.delete("/scores", headers=headers)
    refused = await api.post("/events/1/score", json={"score": 4}, headers=headers)
    assert (refused.status_code, refused.json()["type"]) == (401, "/problems/unknown-token")
    assert refused.headers["WWW-Authenticate"] == 'Bearer error="invalid_token"'
    assert (await api.get("/scores", headers=headers)).json()["scores"] == []


async def test_a_rater_without_ratings_can_be_erased(api: AsyncClient) -> None:
    assert (await api.delete("/scores")).json() == {"withdrawn": 0, "anonymised": 0}


async def test_a_withdrawal_by_erasure_settles_like_any_other(engine: AsyncEngine) -> None:
    rater = uuid4()
    await rate(engine, rater, [1])
    await erasure.erase(engine, rater)
    await settle_all(engine, Verdict.APPLIED)
    assert await recorded(engine, rater) == {1: (State.WITHDRAWN, None, None, 2)}
