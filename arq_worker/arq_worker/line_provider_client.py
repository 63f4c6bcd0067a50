"""line_provider as the worker sees it: messages in, decisions out, or an outcome that is unknown; and its records."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from types import TracebackType
from typing import Any, Self
from uuid import UUID

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from arq_worker.batch_trace import BatchTrace
from score_maker.ratings.domain import AppliedVersion, Verdict
from score_maker.saga.outbox import OutboxMessage
from score_maker.saga.settlement import Decision
from scoreline.line_provider.v1 import events_pb2, events_pb2_grpc, scores_pb2, scores_pb2_grpc

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


class LineProviderAway(Exception):
    """line_provider does not answer, or not now."""


class LineProviderRefuses(Exception):
    """line_provider answers that it will not do this, and why."""


@dataclass(frozen=True, slots=True)
class EventRecord:
    """What line_provider says of an event: `revision` grows with every change of it."""

    event_id: int
    revision: int
    deadline: datetime
    finalized_at: datetime | None
    count: int
    sum: int


PAGE = 1_000
HEALTH_TIMEOUT_SECONDS = 1


class LineProviderClient:
    """line_provider by way of a channel, which is kept as long and then closed; an async context manager.

    Everything but `apply` and `is_serving` raises LineProviderAway where it gets no answer.
    """

    def __init__(self, channel: grpc.aio.Channel, token: str, rpc_timeout: timedelta) -> None:
        self._channel = channel
        self._scores = scores_pb2_grpc.ScoreServiceStub(self._channel)
        self._events = events_pb2_grpc.EventServiceStub(self._channel)
        # Its type stubs leave out the calls.
        self._health: Any = health_pb2_grpc.HealthStub(self._channel)
        self._metadata = (("authorization", f"Bearer {token}"),)
        self._rpc_timeout = rpc_timeout.total_seconds()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, error_type: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._channel.close()

    async def is_serving(self) -> bool:
        """Whether line_provider says of itself that it can serve."""
        try:
            answer = await self._health.Check(health_pb2.HealthCheckRequest(), timeout=HEALTH_TIMEOUT_SECONDS)
        except grpc.aio.AioRpcError:
            return False
        return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)

    async def apply(self, messages: Sequence[OutboxMessage], followed: BatchTrace) -> list[Decision]:
        """line_provider's verdict on each message, in their order. Raises OutcomeUnknown."""
        request = scores_pb2.ApplyScoresRequest(
            changes=[_change(message, followed.of_message(message)) for message in messages]
        )
        metadata = [*self._metadata]
        if batch := followed.of_batch():
            metadata.append(("traceparent", batch))
        try:
            response = await self._scores.ApplyScores(request, timeout=self._rpc_timeout, metadata=metadata)
        except grpc.aio.AioRpcError as error:
            reason = f"{error.code().name}: {error.details()}"
            raise OutcomeUnknown(reason, caused_by_content=error.code() in _CAUSED_BY_CONTENT) from error
        try:
            return [_decision(message, verdict) for message, verdict in zip(messages, response.verdicts, strict=True)]
        except (KeyError, ValueError) as error:
            raise OutcomeUnknown(f"answer outside the contract: {error}", caused_by_content=True) from error

    async def list_events(
        self, phase: "events_pb2.EventPhase.ValueType" = events_pb2.EVENT_PHASE_UNSPECIFIED
    ) -> AsyncIterator[list[EventRecord]]:
        """The events in that phase, or all, page by page."""
        request = events_pb2.GetEventsRequest(page_size=PAGE, phase=phase, order=events_pb2.EVENT_ORDER_NEWEST)
        while True:
            response = await self._ask(self._events.GetEvents, request)
            yield [_record(event) for event in response.events]
            if not response.next_page_token:
                return
            request.page_token = response.next_page_token

    async def totals(self, event_ids: Sequence[int]) -> dict[int, tuple[int, int]]:
        """Count and sum of what is applied of each event; at most 10,000 events."""
        response = await self._ask(self._scores.GetTotals, scores_pb2.GetTotalsRequest(event_ids=event_ids))
        return {each.event_id: (each.totals.count, each.totals.sum) for each in response.events}

    async def list_applied(self, event_id: int) -> AsyncIterator[dict[UUID, AppliedVersion]]:
        """What is applied of the event by rater, page by page in the order of rater ids; the last page may be empty."""
        request = scores_pb2.GetAppliedScoresRequest(event_id=event_id, page_size=PAGE)
        while True:
            page = (await self._ask(self._scores.GetAppliedScores, request)).scores
            yield {UUID(bytes=each.rater_id): _applied_version(each) for each in page}
            if len(page) < PAGE:
                return
            request.after_rater_id = page[-1].rater_id

    async def finalize(self, event_id: int, *, count: int, total: int) -> datetime:
        """Makes the result final; answers since when it is. Raises LineProviderRefuses."""
        request = scores_pb2.FinalizeEventRequest(event_id=event_id, count=count, sum=total)
        response: scores_pb2.FinalizeEventResponse = await self._ask(self._scores.FinalizeEvent, request)
        return response.event.finalized_at.ToDatetime(tzinfo=UTC)

    async def _ask(self, method: Any, request: Any) -> Any:
        try:
            return await method(request, timeout=self._rpc_timeout, metadata=self._metadata)
        except grpc.aio.AioRpcError as error:
            if error.code() in {grpc.StatusCode.FAILED_PRECONDITION, grpc.StatusCode.NOT_FOUND}:
                raise LineProviderRefuses(error.details()) from error
            raise LineProviderAway(f"{error.code().name}: {error.details()}") from error


def _record(event: events_pb2.Event) -> EventRecord:
    return EventRecord(
        event.event_id,
        event.revision,
        event.deadline.ToDatetime(tzinfo=UTC),
        event.finalized_at.ToDatetime(tzinfo=UTC) if event.HasField("finalized_at") else None,
        event.totals.count,
        event.totals.sum,
    )


def _applied_version(score: scores_pb2.AppliedScore) -> AppliedVersion:
    return AppliedVersion(
        score.version,
        score.value if score.HasField("value") else None,
        score.applied_at.ToDatetime(tzinfo=UTC) if score.HasField("applied_at") else None,
    )


def _change(message: OutboxMessage, trace_context: str | None) -> scores_pb2.ScoreChange:
    change = scores_pb2.ScoreChange(
        event_id=message.event_id,
        rater_id=message.rater_id.bytes,
        value=message.value,
        version=message.version,
        trace_context=trace_context or "",
    )
    change.accepted_at.FromDatetime(message.accepted_at)
    return change


def _decision(message: OutboxMessage, answer: scores_pb2.ScoreVerdict) -> Decision:
    verdict = _VERDICTS[answer.verdict]
    if verdict is not Verdict.REJECTED:
        return Decision(message, verdict)
    reason = scores_pb2.RejectionReason.Name(answer.reason).removeprefix("REJECTION_REASON_").lower()
    return Decision(message, verdict, reason)
