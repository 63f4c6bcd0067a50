"""The traces of a batch: one of its own, and in the trace of each rating, the spans that show what became of it.

A batch serves many ratings, each of which may belong to another trace. So the batch is a trace of its own, with links
to theirs. The trace of each rating gets a span for its wait in the outbox and one for the relay, under which
line_provider puts that of applying, and the worker that of settling. A batch without traced ratings costs nothing.
"""

import time
from collections.abc import Sequence
from datetime import datetime

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import Link, Span, SpanKind, Status, StatusCode

from score_maker.saga.outbox import OutboxMessage
from score_maker.saga.settlement import DecidedMessage
from scoreline_common.telemetry.tracing import parent_of, span_context_of, traceparent

_tracer = trace.get_tracer("arq_worker")


class BatchTrace:
    """Begins when the messages have been claimed, and ends with `end`."""

    def __init__(self, messages: Sequence[OutboxMessage]) -> None:
        traced = [(message, message.trace_context) for message in messages if message.trace_context]
        self._batch: Span | None = None
        self._relayed: dict[int, Span] = {}
        if not traced:
            return
        links = [Link(span_context_of(context)) for _, context in traced]
        size = {"messaging.batch.message_count": len(messages)}
        self._batch = _tracer.start_span("relay batch", Context(), SpanKind.CONSUMER, size, links)
        claimed = time.time_ns()
        for message, context in traced:
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
        """Returns the traceparent for the call of line_provider; None if the batch is not traced."""
        return traceparent(self._batch) if self._batch is not None else None

    def of_message(self, message: OutboxMessage) -> str | None:
        """Returns the traceparent for what line_provider does with the message; None if it is not traced."""
        span = self._relayed.get(message.id)
        return traceparent(span) if span is not None else None

    def settled(self, decided: Sequence[DecidedMessage], began: int) -> None:
        """Records messages that were settled by a transaction that began then (nanoseconds since 1970)."""
        if not self._relayed:
            return
        for each in decided:
            if span := self._relayed.get(each.message.id):
                verdict = {"scoreline.verdict": each.verdict, "scoreline.reason": each.reason or ""}
                span.set_attributes(verdict)
                parent = trace.set_span_in_context(span)
                _tracer.start_span("settle", parent, attributes=verdict, start_time=began).end()

    def outcome_unknown(self, messages: Sequence[tuple[OutboxMessage, str]]) -> None:
        """Records messages whose outcome is unknown, and why."""
        for message, error in messages:
            if span := self._relayed.get(message.id):
                span.set_status(Status(StatusCode.ERROR, error))

    def end(self) -> None:
        """Ends all spans."""
        for span in self._relayed.values():
            span.end()
        if self._batch is not None:
            self._batch.end()


def _nanoseconds(time: datetime) -> int:
    return int(time.timestamp() * 1e9)
