"""The metrics of the services."""

from typing import TYPE_CHECKING

from httpx import AsyncClient

from tests.support.organising import Metadata, move_deadline, new_event
from tests.support.rating import rate
from tests.support.waiting import Check, eventually
from tests.telemetry.conftest import Metrics

if TYPE_CHECKING:
    from scoreline.line_provider.v1.events_pb2_grpc import EventServiceAsyncStub


async def test_each_service_counts_its_part_of_a_rating(
    metrics: Metrics,
    rater: AsyncClient,
    organiser: "EventServiceAsyncStub",
    admin: Metadata,
    everything_settled: Check,
) -> None:
    event_id, late = await new_event(organiser, admin), await new_event(organiser, admin)
    before = await metrics.scraped()
    await rate(rater, event_id=event_id)
    await rate(rater, event_id=event_id)
    await rater.get("/events?limit=7")
    await rater.get("/events?limit=7")
    await move_deadline(organiser, admin, late)
    await everything_settled()

    async def are_counted() -> bool:
        after = await metrics.scraped()
        grown = {key: value - before.get(key, 0) for key, value in after.items() if value != before.get(key, 0)}

        def growth(name: str, **labels: str) -> float:
            return grown.get((name, frozenset(labels.items())), 0)

        listing = {"method": "GET", "route": "/events"}
        return (
            growth("scoreline_submissions_total", outcome="accepted"),
            growth("scoreline_submissions_total", outcome="unchanged"),
            growth("scoreline_http_requests_total", status="200", **listing),
            growth("scoreline_http_request_seconds_count", **listing),
            growth("scoreline_listing_cache_total", result="miss"),
            growth("scoreline_listing_cache_total", result="hit"),
            growth("scoreline_applied_total", verdict="applied", reason=""),
            growth("scoreline_settled_total", verdict="applied", reason=""),
            growth("scoreline_saga_seconds_count"),
            growth("scoreline_rpcs_total", method="scoreline.line_provider.v1.EventService/UpdateEvent", code="OK"),
        ) == (1, 1, 2, 2, 1, 1, 1, 1, 1, 1)

    await eventually(are_counted)
    now = await metrics.scraped()
    assert now["scoreline_database_answers", frozenset()] == 1
    assert now["scoreline_watchers", frozenset()] == 1
    assert now["scoreline_events_stale", frozenset()] == 0
    builds = {dict(labels)["service"] for name, labels in now if name == "scoreline_build_info"}
    assert builds == {"line-provider", "score-maker", "arq-worker"}
