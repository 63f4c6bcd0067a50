"""line_provider as the worker calls it: it decides messages, or leaves their outcome unknown; and it lists its records.

Protobuf messages and numbers stay in this module; the rest of the worker has plain data and enums.
"""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from types import TracebackType
from typing import Any, Self
from uuid import UUID

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from arq_worker.batch_trace import BatchTrace
from score_maker.ratings.domain import AppliedVersion, Reason, Verdict
from score_maker.saga.outbox import OutboxMessage
from score_maker.saga.settlement import DecidedMessage
from scoreline.line_provider.v1 import events_pb2, events_pb2_grpc, scores_pb2, scores_pb2_grpc
from scoreline_common.unknown_values import report_unknown_value

# By name, so that a member here that the contract does not have fails at import.
_VERDICTS = {scores_pb2.Verdict.Value(f"VERDICT_{verdict.name}"): verdict for verdict in Verdict}
_REASONS: dict[int, Reason] = {
    scores_pb2.RejectionReason.Value(f"REJECTION_REASON_{reason.name}"): reason
    for reason in Reason
    if reason is not Reason.OTHER
}

# Failures that one message of a batch may cause; the other failures would meet any batch.
_CAUSED_BY_CONTENT = {
    grpc.StatusCode.INTERNAL,
    grpc.StatusCode.INVALID_ARGUMENT,
    grpc.StatusCode.OUT_OF_RANGE,
    grpc.StatusCode.RESOURCE_EXHAUSTED,
    grpc.StatusCode.UNKNOWN,
}


class OutcomeUnknown(Exception):
    """line_provider may or may not have applied the batch. `caused_by_content`: a part of it might succeed."""

    def __init__(self, reason: str, *, caused_by_content: bool) -> None:
        super().__init__(reason)
        self.caused_by_content = caused_by_content


class LineProviderUnavailable(Exception):
    """line_provider does not answer, or answers that it cannot serve now."""


class LineProviderRefuses(Exception):
    """line_provider answers that it will not do this; the message is its reason."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EventRecord:
    """What line_provider has recorded of an event; `revision` grows with every change of it."""

    event_id: int
    revision: int
    deadline: datetime
    finalized_at: datetime | None
    count: int
    sum: int


PAGE = 1_000
HEALTH_TIMEOUT_SECONDS = 1


class LineProviderClient:
    """Calls line_provider over a channel, and closes the channel at the end: an async context manager.

    All methods but `apply` and `is_serving` raise LineProviderUnavailable if line_provider does not answer in time.
    """

    def __init__(self, channel: grpc.aio.Channel, token: str, rpc_timeout: timedelta) -> None:
        self._channel = channel
        self._scores = scores_pb2_grpc.ScoreServiceStub(self._channel)
        self._events = events_pb2_grpc.EventServiceStub(self._channel)
        # The package's type stubs lack the calls.
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
        """Tells whether line_provider reports SERVING; False if it does not answer within a second."""
        try:
            answer = await self._health.Check(health_pb2.HealthCheckRequest(), timeout=HEALTH_TIMEOUT_SECONDS)
        except grpc.aio.AioRpcError:
            return False
        return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)

    async def apply(self, messages: Sequence[OutboxMessage], batch_trace: BatchTrace) -> list[DecidedMessage]:
        """Returns the decided messages, in their order. Raises OutcomeUnknown.

        A message is missing if its verdict is unknown to this version: it is not decided, the others are.
        """
        request = scores_pb2.ApplyScoresRequest(
            changes=[_change(message, batch_trace.of_message(message)) for message in messages]
        )
        metadata = [*self._metadata]
        if traceparent := batch_trace.of_batch():
            metadata.append(("traceparent", traceparent))
        try:
            response = await self._scores.ApplyScores(request, timeout=self._rpc_timeout, metadata=metadata)
        except grpc.aio.AioRpcError as error:
            reason = f"{error.code().name}: {error.details()}"
            raise OutcomeUnknown(reason, caused_by_content=error.code() in _CAUSED_BY_CONTENT) from error
        if len(response.verdicts) != len(messages):
            reason = f"answer outside the contract: {len(response.verdicts)} verdicts on {len(messages)} changes"
            raise OutcomeUnknown(reason, caused_by_content=True)
        answers = map(_decided, messages, response.verdicts)
        return [decided for decided in answers if decided is not None]

    async def list_events(
        self, phase: "events_pb2.EventPhase.ValueType" = events_pb2.EVENT_PHASE_UNSPECIFIED
    ) -> AsyncIterator[list[EventRecord]]:
        """Yields the events in that phase, or all, page by page."""
        request = events_pb2.GetEventsRequest(page_size=PAGE, phase=phase, order=events_pb2.EVENT_ORDER_NEWEST)
        while True:
            response = await self._ask(self._events.GetEvents, request)
            yield [_record(event) for event in response.events]
            if not response.next_page_token:
                return
            request.page_token = response.next_page_token

    async def totals(self, event_ids: Sequence[int]) -> dict[int, tuple[int, int]]:
        """Returns count and sum of the applied ratings of each event; at most 10,000 events."""
        response = await self._ask(self._scores.GetTotals, scores_pb2.GetTotalsRequest(event_ids=event_ids))
        return {each.event_id: (each.totals.count, each.totals.sum) for each in response.events}

    async def list_applied(self, event_id: int) -> AsyncIterator[dict[UUID, AppliedVersion]]:
        """Yields the applied versions of the event by rater, page by page in the order of rater ids.

        The last page may be empty.
        """
        request = scores_pb2.GetAppliedScoresRequest(event_id=event_id, page_size=PAGE)
        while True:
            page = (await self._ask(self._scores.GetAppliedScores, request)).scores
            yield {UUID(bytes=each.rater_id): _applied_version(each) for each in page}
            if len(page) < PAGE:
                return
            request.after_rater_id = page[-1].rater_id

    async def finalize(self, event_id: int, *, count: int, total: int) -> datetime:
        """Makes the result final, and returns the time since which it is. Raises LineProviderRefuses."""
        request = scores_pb2.FinalizeEventRequest(event_id=event_id, count=count, sum=total)
        response: scores_pb2.FinalizeEventResponse = await self._ask(self._scores.FinalizeEvent, request)
        return response.event.finalized_at.ToDatetime(tzinfo=UTC)

    async def _ask(self, method: Any, request: Any) -> Any:
        try:
            return await method(request, timeout=self._rpc_timeout, metadata=self._metadata)
        except grpc.aio.AioRpcError as error:
            if error.code() in {grpc.StatusCode.FAILED_PRECONDITION, grpc.StatusCode.NOT_FOUND}:
                raise LineProviderRefuses(error.details()) from error
            raise LineProviderUnavailable(f"{error.code().name}: {error.details()}") from error


def _record(event: events_pb2.Event) -> EventRecord:
    return EventRecord(
        event_id=event.event_id,
        revision=event.revision,
        deadline=event.deadline.ToDatetime(tzinfo=UTC),
        finalized_at=event.finalized_at.ToDatetime(tzinfo=UTC) if event.HasField("finalized_at") else None,
        count=event.totals.count,
        sum=event.totals.sum,
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


def _decided(message: OutboxMessage, answer: scores_pb2.ScoreVerdict) -> DecidedMessage | None:
    """Returns None for a verdict that this version does not know: only a known verdict may end a saga."""
    verdict = _VERDICTS.get(answer.verdict)
    if verdict is None:
        report_unknown_value("Verdict", answer.verdict)
        return None
    if verdict is not Verdict.REJECTED:
        return DecidedMessage(message, verdict)
    reason = _REASONS.get(answer.reason)
    if reason is None:
        report_unknown_value("RejectionReason", answer.reason)
        reason = Reason.OTHER
    return DecidedMessage(message, verdict, reason)
