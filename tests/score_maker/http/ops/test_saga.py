"""/ops over HTTP: who may use it, what it shows of the saga, and the retry of stuck messages."""

import asyncio
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from typing import Any

import pytest
from httpx import AsyncClient
from redis.asyncio import Redis
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from devstack.valkey import Valkey
from score_maker.ratings.domain import Verdict
from score_maker.saga import outbox, reconciliation
from score_maker.saga.health import WORKER_HEARTBEAT_KEY
from score_maker.saga.throughput import ThroughputRecorder
from score_maker.settings import Settings
from tests.support.operators import AS_OPERATOR, OPERATORS_TOKEN
from tests.support.rating import rate_by_new_raters
from tests.support.scripted_line_provider import ScriptedLineProvider, event
from tests.support.serving import changed, serving
from tests.support.settling import settle_all
from tests.support.waiting import until


def with_operators(settings: Settings, **changes: Any) -> Settings:
    return changed(settings, **{"admin_token": OPERATORS_TOKEN, **changes})


@pytest.fixture
async def operators(settings: Settings, line_provider: ScriptedLineProvider) -> AsyncIterator[AsyncClient]:
    """A client with the operators' token; events 1 to 3 are open."""
    line_provider.put(*(event(event_id) for event_id in (1, 2, 3)))
    async with serving(with_operators(settings)) as client:
        client.headers.update(AS_OPERATOR)
        yield client


async def saga(api: AsyncClient) -> Any:
    answer = await api.get("/ops/saga")
    assert answer.status_code == 200, answer.text
    assert answer.headers["Cache-Control"] == "no-store"
    return answer.json()


async def saga_when(api: AsyncClient, condition: Callable[[Any], bool]) -> Any:
    """The first snapshot for which the condition holds."""
    return await until(lambda: saga(api), condition, within=60)


async def fail(engine: AsyncEngine, error: str, *, limit: int) -> None:
    """Postpones up to `limit` messages, as the relay does after a failed call."""
    async with engine.begin() as connection:
        claim = await outbox.claim(connection, limit=limit, lease=timedelta(minutes=1))
        await outbox.postpone(connection, claim, [timedelta(hours=1)] * len(claim.messages), error=error)


async def test_ops_is_not_found_unless_its_token_is_set(api: AsyncClient) -> None:
    for path in ("/ops", "/ops/saga", "/ops/outbox"):
        answer = await api.get(path, headers=AS_OPERATOR)
        assert (answer.status_code, answer.json()["type"]) == (404, "/problems/not-found"), path
    document = (await api.get("/openapi.json")).json()
    assert not [path for path in document["paths"] if path.startswith("/ops")]
    assert "operations" not in {tag["name"] for tag in document["tags"]}


@pytest.mark.parametrize(
    "authorization",
    [
        None,
        f"Bearer {OPERATORS_TOKEN}x",
        f"Bearer {OPERATORS_TOKEN[:-1]}",
        "Bearer",
        f"Basic {OPERATORS_TOKEN}",
        "Bearer ÿ",
    ],
)
async def test_only_the_operators_token_opens_ops(operators: AsyncClient, authorization: str | None) -> None:
    del operators.headers["Authorization"]
    headers = [] if authorization is None else [(b"Authorization", authorization.encode("latin-1"))]
    for method, path in (("GET", "/ops/saga"), ("GET", "/ops/outbox"), ("POST", "/ops/outbox/retry")):
        answer = await operators.request(method, path, headers=headers, json={"ids": None})
        assert (answer.status_code, answer.json()["type"]) == (401, "/problems/operator-token-required")
        assert answer.headers["WWW-Authenticate"] == "Bearer"


async def test_a_raters_token_does_not_open_ops(operators: AsyncClient) -> None:
    del operators.headers["Authorization"]
    token = (await operators.post("/raters")).json()["token"]
    answer = await operators.get("/ops/saga", headers={"Authorization": f"Bearer {token}"})
    assert answer.status_code == 401


async def test_guesses_at_the_token_are_rate_limited_but_reads_with_it_are_not(
    settings: Settings, line_provider: ScriptedLineProvider
) -> None:
    line_provider.put(event(1))
    async with serving(with_operators(settings, rate_limit_address="3/minute")) as api:
        for _ in range(10):
            assert (await api.get("/ops/saga", headers=AS_OPERATOR)).status_code == 200
        guesses = [(await api.get("/ops/saga", headers={"Authorization": "Bearer guess"})) for _ in range(4)]
        assert [guess.status_code for guess in guesses] == [401, 401, 401, 429]
        assert int(guesses[-1].headers["Retry-After"]) >= 1
        assert (await api.post("/ops/outbox/retry", json={"ids": None}, headers=AS_OPERATOR)).status_code == 429


@pytest.mark.parametrize("token", ["short", "with a space in it", "déjà-vu-déjà-vu-déjà"])
def test_score_maker_does_not_start_with_a_token_that_is_too_weak_or_malformed(
    settings: Settings, token: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ValueError, match="admin_token"):
        with_operators(settings, admin_token=token)


async def test_the_outbox_is_counted_by_the_reason_for_which_its_messages_wait(
    operators: AsyncClient, engine: AsyncEngine
) -> None:
    empty = (await saga(operators))["outbox"]
    nothing = {"messages": 0, "due": 0, "claimed": 0, "postponed": 0, "stuck": 0, "oldest_seconds": None}
    assert empty == nothing

    await rate_by_new_raters(operators, 6)
    await fail(engine, "INTERNAL: as the test demands", limit=3)
    async with engine.begin() as connection:
        await outbox.claim(connection, limit=1, lease=timedelta(minutes=5))
    seen = (await saga_when(operators, lambda seen: seen["outbox"]["claimed"]))["outbox"]
    assert seen.pop("oldest_seconds") > 0
    assert seen == {"messages": 6, "due": 2, "claimed": 1, "postponed": 3, "stuck": 3}


async def test_stuck_messages_are_listed_with_their_error_and_retried(
    operators: AsyncClient, engine: AsyncEngine
) -> None:
    await rate_by_new_raters(operators, 3)
    await fail(engine, "INTERNAL: as the test demands", limit=2)
    listed = (await operators.get("/ops/outbox")).json()["messages"]
    assert [(message["attempts"], message["last_error"]) for message in listed] == [
        (1, "INTERNAL: as the test demands"),
        (1, "INTERNAL: as the test demands"),
        (0, None),
    ]
    stuck, other, fresh = listed
    assert 3500 < stuck["next_attempt_in_seconds"] <= 3600
    assert fresh["next_attempt_in_seconds"] == 0
    assert (stuck["event_id"], stuck["score"], stuck["version"], stuck["is_claimed"]) == (1, 4, 1, False)
    assert len((await operators.get("/ops/outbox", params={"limit": 1})).json()["messages"]) == 1

    assert (await operators.post("/ops/outbox/retry", json={"ids": [stuck["id"]]})).json() == {
        "rescheduled": 1,
        "hastened": 1,
    }
    listed = {message["id"]: message for message in (await operators.get("/ops/outbox")).json()["messages"]}
    assert listed[stuck["id"]]["next_attempt_in_seconds"] == 0
    assert listed[other["id"]]["next_attempt_in_seconds"] > 3500
    # A message that is already due, or does not exist, needs no retry.
    assert (await operators.post("/ops/outbox/retry", json={"ids": [stuck["id"], 10**9]})).json() == {
        "rescheduled": 0,
        "hastened": 0,
    }
    assert (await operators.post("/ops/outbox/retry", json={"ids": None})).json() == {"rescheduled": 1, "hastened": 1}


@pytest.mark.parametrize("body", [{}, {"ids": []}, {"ids": [0]}, {"ids": ["1"]}, {"ids": [1], "all": True}, []])
async def test_a_retry_has_to_name_its_messages(operators: AsyncClient, body: object) -> None:
    answer = await operators.post("/ops/outbox/retry", json=body)
    assert (answer.status_code, answer.json()["type"]) == (422, "/problems/invalid-request")


async def test_throughput_is_counted_by_verdict(operators: AsyncClient, engine: AsyncEngine) -> None:
    verdicts = {("applied", ""): 0, ("rejected", "event_final"): 0}
    worker = ThroughputRecorder(engine, lambda: verdicts)
    await worker.record()
    assert (await saga(operators))["throughput"] == {
        "accepted_per_second": 0,
        "settled_per_second": 0,
        "verdicts": [],
    }
    await rate_by_new_raters(operators, 4)
    verdicts |= {("applied", ""): 3, ("rejected", "event_final"): 1}
    await worker.record()
    verdicts["applied", ""] = 5
    await worker.record()
    async with engine.begin() as connection:
        await connection.execute(text("INSERT INTO throughput VALUES (now() - interval '30 min', 'applied', '', 100)"))
    # The rate is that of the five-second slots that the last minute touches, which span up to 65 seconds.
    least = 4 / 65
    seen = await saga_when(operators, lambda seen: seen["throughput"]["accepted_per_second"] >= least)
    figures = seen["throughput"]
    assert figures["verdicts"] == [
        {"verdict": "applied", "reason": None, "last_minute": 5, "last_hour": 105},
        {"verdict": "rejected", "reason": "event_final", "last_minute": 1, "last_hour": 1},
    ]
    assert figures["accepted_per_second"] <= 4 / 60
    assert 6 / 65 <= figures["settled_per_second"] <= 6 / 60


async def test_the_last_reconciliation_is_shown_with_the_events_that_differ(
    operators: AsyncClient, engine: AsyncEngine
) -> None:
    assert (await saga(operators))["reconciliation"] is None
    for divergent in (list(range(1, 251)), [2]):
        async with engine.begin() as connection:
            await reconciliation.record_pass(connection, events=300, divergent_event_ids=divergent)

        def shows(seen: Any, number: int = len(divergent)) -> bool:
            return bool((seen["reconciliation"] or {}).get("divergent") == number)

        seen = await saga_when(operators, shows)
        assert seen["reconciliation"]["events"] == 300
        assert seen["reconciliation"]["divergent_event_ids"] == divergent[:100]
        assert seen["reconciliation"]["seconds_ago"] >= 0


async def test_each_service_is_shown_with_the_health_that_it_reports(
    operators: AsyncClient, line_provider: ScriptedLineProvider, redis: Redis
) -> None:
    services = (await saga(operators))["services"]
    assert services["score_maker"] == {
        "status": "ready",
        "database": "ok",
        "line_provider": "ok",
        "redis": "ok",
        "ended_task": None,
    }
    assert (services["line_provider"], services["arq_worker"]) == ("serving", "silent")

    await redis.set(WORKER_HEARTBEAT_KEY, "Jun-11 21:07:03 j_complete=1")
    await line_provider.set_health(serving=False)
    services = (await saga(operators))["services"]
    assert (services["line_provider"], services["arq_worker"]) == ("not serving", "reporting")

    await line_provider.stop()
    seen = await saga_when(operators, lambda seen: seen["services"]["score_maker"]["line_provider"] == "unreachable")
    assert seen["services"]["line_provider"] == "unreachable"
    assert seen["outbox"]["messages"] == 0


async def test_unreachable_dependencies_are_listed_instead_of_failing_the_answer(
    settings: Settings, line_provider: ScriptedLineProvider, valkey: Valkey
) -> None:
    nowhere = "postgresql://nobody@127.0.0.1:1/nothing"
    line_provider.put(event(1))
    async with serving(with_operators(settings, database_url=nowhere, redis_url="redis://127.0.0.1:1/0")) as api:
        seen = await api.get("/ops/saga", headers=AS_OPERATOR)
        assert seen.status_code == 200
        document = seen.json()
        assert [document[name] for name in ("taken_at", "outbox", "throughput", "reconciliation")] == [None] * 4
        assert document["services"] == {
            "score_maker": {
                "status": "not ready",
                "database": "unreachable",
                "line_provider": "ok",
                "redis": "unreachable",
                "ended_task": None,
            },
            "line_provider": "serving",
            "arq_worker": "unknown",
        }
        for answer in (
            await api.get("/ops/outbox", headers=AS_OPERATOR),
            await api.post("/ops/outbox/retry", headers=AS_OPERATOR, json={"ids": [1]}),
        ):
            assert (answer.status_code, answer.json()["type"]) == (503, "/problems/unavailable")


async def test_concurrent_reads_share_one_query(
    operators: AsyncClient, engine: AsyncEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = 0
    overview = outbox.overview

    async def counting(connection: Any) -> Any:
        nonlocal asked
        asked += 1
        await asyncio.sleep(0.2)
        return await overview(connection)

    monkeypatch.setattr("score_maker.saga.outbox.overview", counting)
    seen = await asyncio.gather(*(saga(operators) for _ in range(20)))
    assert asked == 1
    assert len({each["taken_at"] for each in seen}) == 1


async def test_a_settled_rating_leaves_the_outbox(operators: AsyncClient, engine: AsyncEngine) -> None:
    await rate_by_new_raters(operators, 2)
    await saga_when(operators, lambda seen: seen["outbox"]["messages"] == 2)
    await settle_all(engine, Verdict.APPLIED)
    await saga_when(operators, lambda seen: seen["outbox"]["messages"] == 0)
