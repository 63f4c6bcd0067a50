"""One trace from the request to the settlement, and the ids in logs and answers."""

import json
import secrets
from typing import TYPE_CHECKING

from httpx import AsyncClient

from devstack.addresses import Address
from devstack.system import System
from scoreline.line_provider.v1 import events_pb2
from tests.support.organising import Metadata, new_event
from tests.support.rating import rate_accepted
from tests.support.waiting import Check, eventually
from tests.telemetry.trace_collector import CollectedSpan, TraceCollector

if TYPE_CHECKING:
    from scoreline.line_provider.v1.events_pb2_grpc import EventServiceAsyncStub


class Traced:
    """A request's trace, which its client has begun."""

    def __init__(self, *, sampled: bool = True) -> None:
        self.trace_id, self.span_id = secrets.token_hex(16), secrets.token_hex(8)
        self.headers = {"traceparent": f"00-{self.trace_id}-{self.span_id}-{'01' if sampled else '00'}"}

    async def spans(self, collector: TraceCollector, *names: str) -> dict[str, CollectedSpan]:
        """The trace's spans by name, once it has these."""

        async def complete() -> bool:
            return {span.name for span in collector.spans[self.trace_id]} >= set(names)

        await eventually(complete)
        assert sorted(span.name for span in collector.spans[self.trace_id]) == sorted(names)
        return {span.name: span for span in collector.spans[self.trace_id]}


POST = "POST /events/{event_id}/score"
OF_A_RATING = (POST, "outbox", "relay", "apply", "settle")


async def test_a_rating_is_one_trace_from_the_request_to_the_settlement(
    collector: TraceCollector, rater: AsyncClient, organiser: "EventServiceAsyncStub", admin: Metadata
) -> None:
    event_id, traced = await new_event(organiser, admin), Traced()
    await rate_accepted(rater, event_id=event_id, headers=traced.headers)
    spans = await traced.spans(collector, *OF_A_RATING)

    assert spans[POST].parent_id == traced.span_id
    assert spans["outbox"].parent_id == spans["relay"].parent_id == spans[POST].span_id
    assert spans["apply"].parent_id == spans["settle"].parent_id == spans["relay"].span_id
    assert {name: span.service for name, span in spans.items()} == {
        POST: "score-maker",
        "outbox": "arq-worker",
        "relay": "arq-worker",
        "apply": "line-provider",
        "settle": "arq-worker",
    }
    assert {spans[name].attributes["scoreline.verdict"] for name in ("relay", "apply", "settle")} == {"applied"}
    assert spans[POST].attributes["http.response.status_code"] == "202"

    # The batch that it went with is a trace of its own, with the call; each leads to the other.
    (batch,) = (span for each in collector.spans.values() for span in each if span.span_id in spans["relay"].linked_ids)
    assert (batch.name, batch.parent_id, batch.linked_ids) == ("relay batch", "", frozenset({spans[POST].span_id}))
    (call,) = (span for span in collector.spans[batch.trace_id] if span.service == "line-provider")
    assert call.parent_id == batch.span_id
    assert spans["apply"].linked_ids == {call.span_id}


async def test_the_trace_of_a_compensated_rating_says_why(
    system: System, collector: TraceCollector, rater: AsyncClient, organiser: "EventServiceAsyncStub", admin: Metadata
) -> None:
    event_id, traced = await new_event(organiser, admin), Traced()
    await system.arq_worker.stop()
    await rate_accepted(rater, event_id=event_id, headers=traced.headers)
    await organiser.CancelEvent(events_pb2.CancelEventRequest(event_id=event_id), metadata=admin)
    await system.arq_worker.start()
    spans = await traced.spans(collector, *OF_A_RATING)
    for name in ("relay", "apply", "settle"):
        assert spans[name].attributes["scoreline.verdict"] == "rejected"
        assert spans[name].attributes["scoreline.reason"] == "event_cancelled"


async def test_what_its_client_does_not_follow_nobody_does(
    collector: TraceCollector,
    rater: AsyncClient,
    organiser: "EventServiceAsyncStub",
    admin: Metadata,
    everything_settled: Check,
) -> None:
    event_id, unfollowed, followed = await new_event(organiser, admin), Traced(sampled=False), Traced()
    await rate_accepted(rater, 4, event_id=event_id, headers=unfollowed.headers)
    await everything_settled()
    await rate_accepted(rater, 5, event_id=event_id, headers=followed.headers)
    await followed.spans(collector, *OF_A_RATING)
    assert unfollowed.trace_id not in collector.spans


async def test_a_request_is_known_by_its_id_in_the_answer_and_in_line_providers_log(
    system: System, rater: AsyncClient
) -> None:
    own = (await rater.get("/events")).headers["X-Request-ID"]
    assert own != (await rater.get("/events")).headers["X-Request-ID"]
    assert (await rater.get("/nowhere", headers={"X-Request-ID": "a-1"})).headers["X-Request-ID"] == "a-1"
    refused = await rater.get("/events", headers={"X-Request-ID": "a b\tc"})
    assert refused.headers["X-Request-ID"] not in {"a b\tc", own}

    traced = Traced()
    headers = {"Authorization": f"Bearer {system.operators_token}", "X-Request-ID": "the-one", **traced.headers}
    await system.line_provider_postgres.stop()
    try:
        await rater.post("/ops/events/1/cancel", json={}, headers=headers)
    finally:
        await system.line_provider_postgres.start()
    lines = [json.loads(line) for line in system.line_provider.log.read_text().splitlines() if line.startswith("{")]
    (line,) = (line for line in lines if line.get("request_id") == "the-one")
    assert (line["event"], line["trace_id"]) == ("database_unreachable", traced.trace_id)


async def test_a_collector_that_is_away_costs_the_services_nothing(
    system: System,
) -> None:
    nowhere = f"http://{Address.free()}"
    address = Address.free()
    service = system.another_score_maker("unheard", address, {"SCORE_MAKER_OTLP_ENDPOINT": nowhere})
    async with service, AsyncClient(base_url=f"http://{address}") as client:
        for _ in range(20):
            assert (await client.get("/events")).status_code == 200
        await service.stop()
        assert "Traceback" not in service.log.read_text()
