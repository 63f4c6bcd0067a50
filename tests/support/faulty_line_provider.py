"""A ScoreService on a real gRPC server whose faults the tests choose."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from scoreline.line_provider.v1 import scores_pb2, scores_pb2_grpc

TOKEN = "a-token-for-the-worker"

Answer = Callable[[scores_pb2.ApplyScoresRequest], scores_pb2.ApplyScoresResponse | grpc.StatusCode]


def applied(request: scores_pb2.ApplyScoresRequest) -> scores_pb2.ApplyScoresResponse:
    verdict = scores_pb2.ScoreVerdict(verdict=scores_pb2.VERDICT_APPLIED)
    return scores_pb2.ApplyScoresResponse(verdicts=[verdict] * len(request.changes))


@dataclass
class FaultyLineProvider(scores_pb2_grpc.ScoreServiceServicer):
    """Answers ApplyScores as `answer` says, a status code meaning that the call fails with it."""

    address: str = ""
    answer: Answer = applied
    requests: list[scores_pb2.ApplyScoresRequest] = field(default_factory=list)

    async def serve(self, address: str = "127.0.0.1:0") -> grpc.aio.Server:
        """A server that reports itself healthy, whatever the faults."""
        server = grpc.aio.server()
        scores_pb2_grpc.add_ScoreServiceServicer_to_server(self, server)
        healthy = health.aio.HealthServicer()
        await healthy.set("", health_pb2.HealthCheckResponse.SERVING)
        health_pb2_grpc.add_HealthServicer_to_server(healthy, server)
        self.address = f"127.0.0.1:{server.add_insecure_port(address)}"
        await server.start()
        return server

    async def ApplyScores(  # noqa: N802 - the contract's name
        self, request: scores_pb2.ApplyScoresRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> scores_pb2.ApplyScoresResponse:
        assert ("authorization", f"Bearer {TOKEN}") in (context.invocation_metadata() or ())
        self.requests.append(request)
        answer = self.answer(request)
        if isinstance(answer, grpc.StatusCode):
            await context.abort(answer, "as the test wants it")
        return answer
