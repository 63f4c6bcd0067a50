"""line_provider on a real gRPC server, with only the calls that the worker makes, and faults that the tests choose."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from scoreline.line_provider.v1 import events_pb2, events_pb2_grpc, scores_pb2, scores_pb2_grpc

TOKEN = "a-token-for-the-worker"

Context = grpc.aio.ServicerContext[Any, Any]
Answer = Callable[[scores_pb2.ApplyScoresRequest], scores_pb2.ApplyScoresResponse | grpc.StatusCode]


def applied(request: scores_pb2.ApplyScoresRequest) -> scores_pb2.ApplyScoresResponse:
    verdict = scores_pb2.ScoreVerdict(verdict=scores_pb2.VERDICT_APPLIED)
    return scores_pb2.ApplyScoresResponse(verdicts=[verdict] * len(request.changes))


async def _at_once() -> None:
    pass


@dataclass
class FaultyLineProvider(scores_pb2_grpc.ScoreServiceServicer, events_pb2_grpc.EventServiceServicer):
    """`answer` returns the response to ApplyScores, or the status code with which the call fails.

    GetEvents awaits `before_listing` and then lists `events`, none of which has any applied ratings. `requests` records
    the calls of ApplyScores.
    """

    address: str = ""
    answer: Answer = applied
    requests: list[scores_pb2.ApplyScoresRequest] = field(default_factory=list)
    events: list[events_pb2.Event] = field(default_factory=list)
    before_listing: Callable[[], Awaitable[None]] = _at_once

    async def serve(self, address: str = "127.0.0.1:0") -> grpc.aio.Server:
        """Starts and returns a server, which reports SERVING regardless of the faults."""
        server = grpc.aio.server()
        scores_pb2_grpc.add_ScoreServiceServicer_to_server(self, server)
        events_pb2_grpc.add_EventServiceServicer_to_server(self, server)
        healthy = health.aio.HealthServicer()
        await healthy.set("", health_pb2.HealthCheckResponse.SERVING)
        health_pb2_grpc.add_HealthServicer_to_server(healthy, server)
        self.address = f"127.0.0.1:{server.add_insecure_port(address)}"
        await server.start()
        return server

    async def ApplyScores(  # noqa: N802 - the contract's name
        self, request: scores_pb2.ApplyScoresRequest, context: Context
    ) -> scores_pb2.ApplyScoresResponse:
        assert ("authorization", f"Bearer {TOKEN}") in (context.invocation_metadata() or ())
        self.requests.append(request)
        answer = self.answer(request)
        if isinstance(answer, grpc.StatusCode):
            await context.abort(answer, "as the test wants it")
        return answer

    async def GetEvents(  # noqa: N802
        self, _request: events_pb2.GetEventsRequest, _context: Context
    ) -> events_pb2.GetEventsResponse:
        await self.before_listing()
        return events_pb2.GetEventsResponse(events=self.events)

    async def GetTotals(  # noqa: N802
        self, request: scores_pb2.GetTotalsRequest, _context: Context
    ) -> scores_pb2.GetTotalsResponse:
        return scores_pb2.GetTotalsResponse(
            events=[scores_pb2.EventTotals(event_id=event_id) for event_id in request.event_ids]
        )

    async def GetAppliedScores(  # noqa: N802
        self, _request: scores_pb2.GetAppliedScoresRequest, _context: Context
    ) -> scores_pb2.GetAppliedScoresResponse:
        return scores_pb2.GetAppliedScoresResponse()
