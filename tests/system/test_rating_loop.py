"""One rating round the whole loop, over the real ports."""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from httpx import AsyncClient

from devstack.system import System
from scoreline.line_provider.v1 import events_pb2
from tests.support.organising import Metadata, move_deadline, new_event
from tests.support.waiting import eventually

if TYPE_CHECKING:
    from scoreline.line_provider.v1.events_pb2_grpc import EventServiceAsyncStub

Check = Callable[[], Awaitable[None]]


async def rate(rater: AsyncClient, event_id: int, value: int) -> dict[str, Any]:
    response = await rater.post(f"/events/{event_id}/score", json={"score": value})
    assert response.status_code == 202, response.text
    score: dict[str, Any] = response.json()
    return score


async def until_decided(rater: AsyncClient, event_id: int) -> dict[str, Any]:
    score: dict[str, Any] = {}

    async def decided() -> bool:
        nonlocal score
        score = (await rater.get(f"/events/{event_id}/score")).json()
        return bool(score["state"] != "pending")

    # A worker that died held its batch: its lease must run out first.
    await eventually(decided, within=90)
    return score


async def until_shown(rater: AsyncClient, event_id: int, **expected: Any) -> None:
    seen: dict[str, Any] = {}

    async def shown() -> bool:
        event = (await rater.get(f"/events/{event_id}")).json()
        seen.update((name, event.get(name)) for name in expected)
        return seen == expected

    try:
        await eventually(shown)
    except TimeoutError:
        raise AssertionError(f"event {event_id} still shows {seen}, not {expected}") from None


async def until_listed(rater: AsyncClient, event_id: int) -> None:
    """Returns once score_maker knows the event by itself; one alone it asks line_provider for."""

    async def listed() -> bool:
        newest = (await rater.get("/events", params={"sort": "newest", "limit": 10})).json()["events"]
        return event_id in {event["event_id"] for event in newest}

    await eventually(listed)


async def test_the_demo_is_the_104_matches_of_a_world_cup_that_is_under_way(rater: AsyncClient) -> None:
    matches = (await rater.get("/events")).json()
    demo = [event for event in matches["events"] if event["description"].startswith("World Cup 2026")]
    assert len(demo) == 104
    now = datetime.now(UTC)
    assert min(datetime.fromisoformat(match["starts_at"]) for match in demo) < now
    assert max(datetime.fromisoformat(match["starts_at"]) for match in demo) > now
    assert {match["phase"] for match in demo} <= {"open", "closed", "final"}
    assert any(match["phase"] == "open" for match in demo)


async def test_a_rating_its_change_and_its_withdrawal_reach_the_event(
    rater: AsyncClient, both_databases_agree: Check, everything_settled: Check
) -> None:
    unrated: dict[str, str | int] = {"phase": "open", "status": "PROCESSING", "limit": 1}
    event_id = (await rater.get("/events", params=unrated)).json()["events"][0]["event_id"]

    assert (await rate(rater, event_id, 5))["state"] == "pending"
    await until_shown(rater, event_id, status="HIGH_SCORE", score_count=1, average=5.0, histogram=[0, 0, 0, 0, 1])
    assert (await until_decided(rater, event_id))["state"] == "confirmed"

    await rate(rater, event_id, 1)
    await until_shown(rater, event_id, status="LOW_SCORE", score_count=1, average=1.0, histogram=[1, 0, 0, 0, 0])
    assert (await until_decided(rater, event_id))["confirmed_score"] == 1

    assert (await rater.delete(f"/events/{event_id}/score")).status_code == 202
    await until_shown(rater, event_id, status="PROCESSING", score_count=0, average=None)
    assert (await until_decided(rater, event_id))["state"] == "withdrawn"
    await everything_settled()
    await both_databases_agree()


async def test_a_rating_of_an_event_that_is_cancelled_before_it_is_applied_is_compensated(
    system: System, rater: AsyncClient, organiser: "EventServiceAsyncStub", admin: Metadata, both_databases_agree: Check
) -> None:
    event_id = await new_event(organiser, admin)
    await rate(rater, event_id, 4)
    assert (await until_decided(rater, event_id))["state"] == "confirmed"

    await system.arq_worker.stop()
    await rate(rater, event_id, 1)
    await organiser.CancelEvent(events_pb2.CancelEventRequest(event_id=event_id), metadata=admin)
    await system.arq_worker.start()

    score = await until_decided(rater, event_id)
    assert (score["state"], score["reason"]) == ("rejected", "event_cancelled")
    assert (score["score"], score["confirmed_score"]) == (4, 4)
    await until_shown(rater, event_id, phase="cancelled", score_count=1, average=4.0)
    await both_databases_agree()
    refused = await rater.post(f"/events/{event_id}/score", json={"score": 5})
    assert (refused.status_code, refused.json()["type"]) == (410, "/problems/event-cancelled")


async def test_a_first_rating_of_an_event_that_is_closed_before_it_is_applied_leaves_none(
    system: System, rater: AsyncClient, organiser: "EventServiceAsyncStub", admin: Metadata, both_databases_agree: Check
) -> None:
    event_id = await new_event(organiser, admin)
    await system.arq_worker.stop()
    await rate(rater, event_id, 5)
    await move_deadline(organiser, admin, event_id, datetime.now(UTC) - timedelta(hours=1))
    await system.arq_worker.start()

    score = await until_decided(rater, event_id)
    assert (score["state"], score["reason"], score["score"]) == ("rejected", "deadline_passed", None)
    await until_shown(rater, event_id, status="PROCESSING", score_count=0)
    await both_databases_agree()


async def test_a_rating_accepted_before_the_deadline_counts_even_if_relayed_after_it(
    system: System, rater: AsyncClient, organiser: "EventServiceAsyncStub", admin: Metadata
) -> None:
    event_id = await new_event(organiser, admin)
    await system.arq_worker.stop()
    accepted_at = datetime.fromisoformat((await rate(rater, event_id, 5))["accepted_at"])
    await move_deadline(organiser, admin, event_id, accepted_at + timedelta(milliseconds=1))
    await until_shown(rater, event_id, phase="closed")
    await system.arq_worker.start()

    assert (await until_decided(rater, event_id))["state"] == "confirmed"
    await until_shown(rater, event_id, status="HIGH_SCORE", score_count=1)


async def test_ratings_are_taken_and_events_served_while_line_provider_is_away(
    system: System, rater: AsyncClient, organiser: "EventServiceAsyncStub", admin: Metadata
) -> None:
    event_id = await new_event(organiser, admin)
    await until_listed(rater, event_id)
    await system.line_provider.kill()
    await until_shown(rater, event_id, stale=True)
    await rate(rater, event_id, 5)
    assert (await rater.get(f"/events/{event_id}/score")).json()["state"] == "pending"
    await system.line_provider.start()
    assert (await until_decided(rater, event_id))["state"] == "confirmed"
    await until_shown(rater, event_id, stale=False, status="HIGH_SCORE")


async def test_ratings_go_round_the_loop_while_valkey_is_away(
    system: System, rater: AsyncClient, organiser: "EventServiceAsyncStub", admin: Metadata
) -> None:
    event_id = await new_event(organiser, admin)
    await system.valkey.kill()
    await rate(rater, event_id, 5)
    assert (await until_decided(rater, event_id))["state"] == "confirmed"
    await until_shown(rater, event_id, status="HIGH_SCORE")
    await system.valkey.start()
    await rate(rater, event_id, 2)
    await until_shown(rater, event_id, status="LOW_SCORE")


async def test_an_acknowledged_rating_survives_the_death_of_every_process(
    system: System, rater: AsyncClient, organiser: "EventServiceAsyncStub", admin: Metadata, both_databases_agree: Check
) -> None:
    event_id = await new_event(organiser, admin)
    await until_listed(rater, event_id)
    await rate(rater, event_id, 5)
    system.kill()
    await system.stop()
    await system.start()
    assert (await until_decided(rater, event_id))["state"] == "confirmed"
    await until_shown(rater, event_id, status="HIGH_SCORE", score_count=1)
    await both_databases_agree()
