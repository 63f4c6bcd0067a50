"""A ScoreService on a real gRPC server whose faults the tests choose."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import grpc

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

    async def ApplyScores(  # noqa: N802 - the contract's name
        self, request: scores_pb2.ApplyScoresRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> scores_pb2.ApplyScoresResponse:
        assert ("authorization", f"Bearer {TOKEN}") in (context.invocation_metadata() or ())
        self.requests.append(request)
        answer = self.answer(request)
        if isinstance(answer, grpc.StatusCode):
            await context.abort(answer, "as the test wants it")
        return answer
