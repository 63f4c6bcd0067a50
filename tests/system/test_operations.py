"""The operators' API on the whole system: it shows the saga, and its changes take effect in line_provider."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from httpx import AsyncClient
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from devstack.system import System
from scoreline.line_provider.v1 import events_pb2
from tests.support.rating import rate_by_new_raters
from tests.support.waiting import Check, eventually, until

if TYPE_CHECKING:
    from scoreline.line_provider.v1.events_pb2_grpc import EventServiceAsyncStub


@pytest.fixture
async def operators(system: System) -> AsyncIterator[AsyncClient]:
    async with AsyncClient(base_url=system.http_url) as client:
        client.headers["Authorization"] = f"Bearer {system.operators_token}"
        yield client


@pytest.fixture
async def event_id(operators: AsyncClient) -> int:
    """The id of a new open event."""
    return await add(operators)


async def add(operators: AsyncClient, **fields: Any) -> int:
    now = datetime.now(UTC)
    times = {"starts_at": now - timedelta(hours=1), "deadline": now + timedelta(hours=1)}
    event = {"title": "Opening night", **{name: time.isoformat() for name, time in times.items()}, **fields}
    created = await operators.post("/ops/events", json=event)
    assert created.status_code == 201, created.text
    return int(created.json()["event_id"])


async def saga(operators: AsyncClient) -> Any:
    answer = await operators.get("/ops/saga")
    assert answer.status_code == 200, answer.text
    return answer.json()


def hour(seen: Any, verdict: str) -> int:
    return sum(each["last_hour"] for each in seen["throughput"]["verdicts"] if each["verdict"] == verdict)


async def test_operators_see_ratings_wait_and_settle(
    system: System, operators: AsyncClient, event_id: int, everything_settled: Check
) -> None:
    await everything_settled()
    await system.arq_worker.stop()
    # A worker records its throughput before it stops.
    before = hour(await saga(operators), "applied")
    await rate_by_new_raters(operators, 5, event_id=event_id)

    def all_wait(seen: Any) -> bool:
        outbox = seen["outbox"]
        return bool(outbox["messages"] == outbox["due"] == 5 and seen["throughput"]["accepted_per_second"] >= 5 / 65)

    seen = await until(lambda: saga(operators), all_wait)
    assert (seen["outbox"]["claimed"], seen["outbox"]["stuck"]) == (0, 0)
    assert seen["services"]["line_provider"] == "serving"
    await system.arq_worker.start()
    await everything_settled()
    await system.arq_worker.stop()
    await system.arq_worker.start()

    def all_counted(seen: Any) -> bool:
        return bool(seen["outbox"]["messages"] == 0 and hour(seen, "applied") == before + 5)

    seen = await until(lambda: saga(operators), all_counted)
    assert seen["services"]["arq_worker"] == "reporting"


async def test_an_operator_retries_stuck_messages_and_their_ratings_count(
    system: System,
    operators: AsyncClient,
    event_id: int,
    scores_database: AsyncEngine,
    everything_settled: Check,
) -> None:
    await everything_settled()
    await system.arq_worker.stop()
    await rate_by_new_raters(operators, 2, event_id=event_id)
    async with scores_database.begin() as connection:
        await connection.execute(
            text("UPDATE scores_outbox SET last_error = 'INTERNAL', next_attempt_at = now() + interval '1 hour'")
        )
    await system.arq_worker.start()
    listed = (await operators.get("/ops/outbox")).json()["messages"]
    assert [(message["event_id"], message["last_error"]) for message in listed] == [(event_id, "INTERNAL")] * 2
    assert (await operators.post("/ops/outbox/retry", json={"ids": None})).json() == {"rescheduled": 2, "hastened": 2}
    await everything_settled()
    assert (await operators.get("/ops/outbox")).json() == {"messages": []}


async def test_operators_see_the_workers_reconciliation(operators: AsyncClient, event_id: int) -> None:
    started = datetime.now(UTC)

    def is_later(seen: Any) -> bool:
        found = seen["reconciliation"]
        return found is not None and datetime.fromisoformat(found["finished_at"]) > started

    found = (await until(lambda: saga(operators), is_later))["reconciliation"]
    assert found["events"] >= 105
    assert (found["divergent"], found["divergent_event_ids"]) == (0, [])


async def test_line_provider_changes_and_cancels_an_event_for_operators_by_its_own_rules(
    operators: AsyncClient, event_id: int, organiser: "EventServiceAsyncStub"
) -> None:
    early = await operators.patch(f"/ops/events/{event_id}", json={"deadline": "2020-01-01T00:00:00Z"})
    assert early.status_code == 422
    assert early.json()["errors"] == [{"part": "body.deadline", "message": "must not be before starts_at"}]
    nothing = await operators.patch(f"/ops/events/{event_id}", json={})
    assert (nothing.status_code, nothing.json()["errors"][0]["part"]) == (422, "body")

    changed = await operators.patch(f"/ops/events/{event_id}", json={"title": "Closing night"})
    assert (changed.status_code, changed.json()["title"]) == (200, "Closing night")
    for _ in range(2):
        cancelled = await operators.post(f"/ops/events/{event_id}/cancel")
        assert (cancelled.status_code, cancelled.json()["phase"]) == (200, "cancelled")
    event = (await organiser.GetEvent(events_pb2.GetEventRequest(event_id=event_id))).event
    assert (event.title, event.HasField("cancelled_at")) == ("Closing night", True)

    refused = await operators.patch(f"/ops/events/{event_id}", json={"title": "Once more"})
    assert (refused.status_code, refused.json()["type"]) == (409, "/problems/event-unchangeable")
    assert (await operators.post("/ops/events/999999/cancel")).status_code == 404


async def test_an_event_with_an_external_id_is_added_once(operators: AsyncClient) -> None:
    await add(operators, external_id="2027/opening")
    with pytest.raises(AssertionError, match="external-id-taken"):
        await add(operators, external_id="2027/opening")


async def test_importing_a_file_twice_adds_its_events_once_and_reports_its_bad_rows(
    operators: AsyncClient, rater: AsyncClient
) -> None:
    content = b"title,starts_at\nMatinee,2027-05-01T15:00\nSoiree,2027-05-01T20:00\n,2027-05-02T20:00\n"
    parameters = {"timezone": "Europe/Paris", "rate_for_hours": "24", "source_name": "May 2027"}
    report = (await operators.post("/ops/imports", content=content, params=parameters)).json()
    assert (report["created"], report["existing"], report["bad"]) == (2, 0, 1)
    assert report["bad_rows"] == [{"place": "line 4", "reason": "title: is missing"}]
    again = (await operators.post("/ops/imports", content=content, params=parameters)).json()
    assert (again["created"], again["existing"], again["bad"]) == (0, 2, 1)

    async def are_listed() -> bool:
        answers = [await rater.get(f"/events/{event_id}") for event_id in report["created_event_ids"]]
        return [answer.json().get("starts_at") for answer in answers] == [
            "2027-05-01T13:00:00Z",
            "2027-05-01T18:00:00Z",
        ]

    await eventually(are_listed)
    for content, parameters, part in (
        (b"\xff\xfe", {}, "body"),
        (b"name\nx\n", {}, "body"),
        (b"title,starts_at\n", {"timezone": "Atlantis/Center"}, "query.timezone"),
    ):
        refused = await operators.post("/ops/imports", content=content, params=parameters)
        assert (refused.status_code, refused.json()["errors"][0]["part"]) == (422, part)


async def test_operators_cannot_change_events_while_line_provider_is_unreachable(
    system: System, operators: AsyncClient, event_id: int
) -> None:
    await system.line_provider.stop()
    refused = await operators.patch(f"/ops/events/{event_id}", json={"title": "Closing night"})
    assert (refused.status_code, refused.json()["type"]) == (503, "/problems/unavailable")
    assert "line_provider" in refused.json()["detail"]
    assert (await saga(operators))["services"]["line_provider"] == "unreachable"
    await system.line_provider.start()

    async def is_changed() -> bool:
        answer = await operators.patch(f"/ops/events/{event_id}", json={"title": "Closing night"})
        return answer.status_code == 200

    await eventually(is_changed)
