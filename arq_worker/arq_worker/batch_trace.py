"""The traces of a batch: its own, and in the trace of each rating that is followed what becomes of it.

A batch serves many ratings, each of which may belong to another trace. So it is a trace of its own, linked with theirs;
and in each of theirs stand how long the rating waited in the outbox, and the relaying, under which line_provider puts
the applying, and the settling. A batch in which nothing is followed costs nothing.
"""

import time
from collections.abc import Sequence
from datetime import datetime

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import Link, Span, SpanKind, Status, StatusCode

from score_maker.saga.outbox import OutboxMessage
from score_maker.saga.settlement import Decision
from scoreline_common.telemetry.tracing import parent_of, span_context_of, traceparent

_tracer = trace.get_tracer("arq_worker")


class BatchTrace:
    """Begins with the claim of the messages, and ends by `end`."""

    def __init__(self, messages: Sequence[OutboxMessage]) -> None:
        followed = [(message, message.trace_context) for message in messages if message.trace_context]
        self._batch: Span | None = None
        self._relayed: dict[int, Span] = {}
        if not followed:
            return
        links = [Link(span_context_of(context)) for _, context in followed]
        size = {"messaging.batch.message_count": len(messages)}
        self._batch = _tracer.start_span("relay batch", Context(), SpanKind.CONSUMER, size, links)
        claimed = time.time_ns()
        for message, context in followed:
            parent = parent_of(context)
            waiting = _tracer.start_span(
                "outbox", parent, SpanKind.PRODUCER, start_time=_nanoseconds(message.accepted_at)
            )
            waiting.end(claimed)
            attributes: dict[str, str | int] = {
                "messaging.system": "scoreline",
                "messaging.operation.type": "process",
                "scoreline.event_id": message.event_id,
                "scoreline.version": message.version,
                "scoreline.attempts": message.attempts,
            }
            link = Link(self._batch.get_span_context())
            self._relayed[message.id] = _tracer.start_span(
                "relay", parent, SpanKind.CONSUMER, attributes, [link], claimed
            )

    def of_batch(self) -> str | None:
        """What the call is followed by."""
        return traceparent(self._batch) if self._batch is not None else None

    def of_message(self, message: OutboxMessage) -> str | None:
        """What the message is followed by."""
        span = self._relayed.get(message.id)
        return traceparent(span) if span is not None else None

    def settled(self, decisions: Sequence[Decision], began: int) -> None:
        """Tells what has been settled by a transaction that began then (nanoseconds since 1970)."""
        if not self._relayed:
            return
        for decision in decisions:
            if span := self._relayed.get(decision.message.id):
                ruling = {"scoreline.verdict": decision.verdict, "scoreline.reason": decision.reason or ""}
                span.set_attributes(ruling)
                parent = trace.set_span_in_context(span)
                _tracer.start_span("settle", parent, attributes=ruling, start_time=began).end()

    def unknown(self, messages: Sequence[tuple[OutboxMessage, str]]) -> None:
        """Tells of messages whose outcome is unknown, and why."""
        for message, error in messages:
            if span := self._relayed.get(message.id):
                span.set_status(Status(StatusCode.ERROR, error))

    def end(self) -> None:
        for span in self._relayed.values():
            span.end()
        if self._batch is not None:
            self._batch.end()


def _nanoseconds(time: datetime) -> int:
    return int(time.timestamp() * 1e9)
