"""line_provider's ScoreService as the relay sees it: messages in, decisions out, or an outcome that is unknown."""

from collections.abc import Sequence
from datetime import timedelta
from types import TracebackType
from typing import Self

import grpc

from score_maker.domain import Verdict
from score_maker.line_provider import open_channel
from score_maker.outbox import OutboxMessage
from score_maker.settlement import Decision
from scoreline.line_provider.v1 import scores_pb2, scores_pb2_grpc

_VERDICTS = {
    scores_pb2.VERDICT_APPLIED: Verdict.APPLIED,
    scores_pb2.VERDICT_DUPLICATE: Verdict.DUPLICATE,
    scores_pb2.VERDICT_REJECTED: Verdict.REJECTED,
}

# Failures that one message of a batch may cause; the others would meet any batch.
_CAUSED_BY_CONTENT = {
    grpc.StatusCode.INTERNAL,
    grpc.StatusCode.INVALID_ARGUMENT,
    grpc.StatusCode.OUT_OF_RANGE,
    grpc.StatusCode.RESOURCE_EXHAUSTED,
    grpc.StatusCode.UNKNOWN,
}


class OutcomeUnknown(Exception):
    """line_provider may or may not have applied the batch. `caused_by_content`: a part of it might fare better."""

    def __init__(self, reason: str, *, caused_by_content: bool) -> None:
        super().__init__(reason)
        self.caused_by_content = caused_by_content


class LineProviderClient:
    """One channel to line_provider, kept for the life of the process; an async context manager."""

    def __init__(self, address: str, token: str, rpc_timeout: timedelta) -> None:
        self._channel = open_channel(address)
        self._scores = scores_pb2_grpc.ScoreServiceStub(self._channel)
        self._metadata = (("authorization", f"Bearer {token}"),)
        self._rpc_timeout = rpc_timeout.total_seconds()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, error_type: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._channel.close()

    async def wait_until_reachable(self) -> None:
        """Returns once there is a connection. gRPC itself tries again and again, at most 2 s apart."""
        await self._channel.channel_ready()

    async def apply(self, messages: Sequence[OutboxMessage]) -> list[Decision]:
        """line_provider's verdict on each message, in their order. Raises OutcomeUnknown."""
        request = scores_pb2.ApplyScoresRequest(changes=[_change(message) for message in messages])
        try:
            response = await self._scores.ApplyScores(request, timeout=self._rpc_timeout, metadata=self._metadata)
        except grpc.aio.AioRpcError as error:
            reason = f"{error.code().name}: {error.details()}"
            raise OutcomeUnknown(reason, caused_by_content=error.code() in _CAUSED_BY_CONTENT) from error
        try:
            return [_decision(message, verdict) for message, verdict in zip(messages, response.verdicts, strict=True)]
        except (KeyError, ValueError) as error:
            raise OutcomeUnknown(f"answer outside the contract: {error}", caused_by_content=True) from error


def _change(message: OutboxMessage) -> scores_pb2.ScoreChange:
    change = scores_pb2.ScoreChange(
        event_id=message.event_id, rater_id=message.rater_id.bytes, value=message.value, version=message.version
    )
    change.accepted_at.FromDatetime(message.accepted_at)
    return change


def _decision(message: OutboxMessage, answer: scores_pb2.ScoreVerdict) -> Decision:
    verdict = _VERDICTS[answer.verdict]
    if verdict is not Verdict.REJECTED:
        return Decision(message, verdict)
    reason = scores_pb2.RejectionReason.Name(answer.reason).removeprefix("REJECTION_REASON_").lower()
    return Decision(message, verdict, reason)
