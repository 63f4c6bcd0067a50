"""A rating's whole way through the system, over the real ports."""

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from httpx import AsyncClient

from devstack.system import System
from scoreline.line_provider.v1 import events_pb2
from tests.support.organising import Metadata, move_deadline, new_event
from tests.support.rating import rate, rate_accepted
from tests.support.waiting import Check, until

if TYPE_CHECKING:
    from scoreline.line_provider.v1.events_pb2_grpc import EventServiceAsyncStub


async def until_decided(rater: AsyncClient, event_id: int) -> dict[str, Any]:
    """Returns the rater's score of the event once it is settled."""

    async def score() -> dict[str, Any]:
        found: dict[str, Any] = (await rater.get(f"/events/{event_id}/score")).json()
        return found

    # The lease of a dead worker on its batch has to expire first.
    return await until(score, lambda score: bool(score["state"] != "pending"), within=90)


async def until_shown(rater: AsyncClient, event_id: int, **expected: Any) -> None:
    """Returns once the event has these fields."""

    async def shown() -> dict[str, Any]:
        event = (await rater.get(f"/events/{event_id}")).json()
        return {name: event.get(name) for name in expected}

    await until(shown, lambda fields: fields == expected)


async def until_listed(rater: AsyncClient, event_id: int) -> None:
    """Returns once the watch has delivered the event. Reading the event itself would fetch it from line_provider."""

    async def newest() -> set[int]:
        listing = (await rater.get("/events", params={"sort": "newest", "limit": 10})).json()
        return {event["event_id"] for event in listing["events"]}

    await until(newest, lambda event_ids: event_id in event_ids)


async def test_the_demo_has_the_104_matches_of_a_world_cup_in_progress(rater: AsyncClient) -> None:
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

    assert (await rate_accepted(rater, 5, event_id=event_id))["state"] == "pending"
    await until_shown(rater, event_id, status="HIGH_SCORE", score_count=1, average=5.0, histogram=[0, 0, 0, 0, 1])
    assert (await until_decided(rater, event_id))["state"] == "confirmed"

    await rate_accepted(rater, 1, event_id=event_id)
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
    await rate_accepted(rater, 4, event_id=event_id)
    assert (await until_decided(rater, event_id))["state"] == "confirmed"

    await system.arq_worker.stop()
    await rate_accepted(rater, 1, event_id=event_id)
    await organiser.CancelEvent(events_pb2.CancelEventRequest(event_id=event_id), metadata=admin)
    await system.arq_worker.start()

    score = await until_decided(rater, event_id)
    assert (score["state"], score["reason"]) == ("rejected", "event_cancelled")
    assert (score["score"], score["confirmed_score"]) == (4, 4)
    await until_shown(rater, event_id, phase="cancelled", score_count=1, average=4.0)
    await both_databases_agree()
    refused = await rate(rater, 5, event_id=event_id)
    assert (refused.status_code, refused.json()["type"]) == (410, "/problems/event-cancelled")


async def test_a_first_rating_of_an_event_that_is_closed_before_it_is_applied_leaves_no_rating(
    system: System, rater: AsyncClient, organiser: "EventServiceAsyncStub", admin: Metadata, both_databases_agree: Check
) -> None:
    event_id = await new_event(organiser, admin)
    await system.arq_worker.stop()
    await rate_accepted(rater, 5, event_id=event_id)
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
    accepted_at = datetime.fromisoformat((await rate_accepted(rater, 5, event_id=event_id))["accepted_at"])
    await move_deadline(organiser, admin, event_id, accepted_at + timedelta(milliseconds=1))
    await until_shown(rater, event_id, phase="closed")
    await system.arq_worker.start()

    assert (await until_decided(rater, event_id))["state"] == "confirmed"
    await until_shown(rater, event_id, status="HIGH_SCORE", score_count=1)


async def test_ratings_are_accepted_and_events_served_while_line_provider_is_unreachable(
    system: System, rater: AsyncClient, organiser: "EventServiceAsyncStub", admin: Metadata
) -> None:
    event_id = await new_event(organiser, admin)
    await until_listed(rater, event_id)
    await system.line_provider.kill()
    await until_shown(rater, event_id, stale=True)
    await rate_accepted(rater, 5, event_id=event_id)
    assert (await rater.get(f"/events/{event_id}/score")).json()["state"] == "pending"
    await system.line_provider.start()
    assert (await until_decided(rater, event_id))["state"] == "confirmed"
    await until_shown(rater, event_id, stale=False, status="HIGH_SCORE")


async def test_ratings_are_settled_and_shown_while_valkey_is_unreachable(
    system: System, rater: AsyncClient, organiser: "EventServiceAsyncStub", admin: Metadata
) -> None:
    event_id = await new_event(organiser, admin)
    await system.valkey.kill()
    await rate_accepted(rater, 5, event_id=event_id)
    assert (await until_decided(rater, event_id))["state"] == "confirmed"
    await until_shown(rater, event_id, status="HIGH_SCORE")
    await system.valkey.start()
    await rate_accepted(rater, 2, event_id=event_id)
    await until_shown(rater, event_id, status="LOW_SCORE")


async def test_an_acknowledged_rating_survives_a_crash_of_every_process(
    system: System, rater: AsyncClient, organiser: "EventServiceAsyncStub", admin: Metadata, both_databases_agree: Check
) -> None:
    event_id = await new_event(organiser, admin)
    await until_listed(rater, event_id)
    await rate_accepted(rater, 5, event_id=event_id)
    system.kill()
    await system.stop()
    await system.start()
    assert (await until_decided(rater, event_id))["state"] == "confirmed"
    await until_shown(rater, event_id, status="HIGH_SCORE", score_count=1)
    await both_databases_agree()
