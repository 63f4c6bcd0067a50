"""OpenTelemetry traces. Without a collector nothing is recorded, at next to no cost."""

from collections.abc import Iterator
from contextlib import contextmanager

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import Span, SpanContext
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from scoreline_common.telemetry.settings import TelemetrySettings

_PROPAGATOR = TraceContextTextMapPropagator()


@contextmanager
def exporting(service: str, settings: TelemetrySettings) -> Iterator[None]:
    """Exports the spans of this process, if its settings name a collector, and flushes them at the end.

    An unreachable collector costs the service only those spans.
    """
    if settings.otlp_endpoint is None:
        yield
        return
    from scoreline_common.telemetry import otlp  # noqa: PLC0415 - its import is slow

    provider = otlp.tracer_provider(service, settings.otlp_endpoint, settings.trace_ratio)
    trace.set_tracer_provider(provider)
    try:
        yield
    finally:
        otlp.shut_down(provider)


def traceparent(span: Span | None = None) -> str | None:
    """Returns the `traceparent` of the span, or of the current one; None if it is not recorded (W3C Trace Context)."""
    context = (span or trace.get_current_span()).get_span_context()
    if not (context.is_valid and context.trace_flags.sampled):
        return None
    return f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}"


def parent_of(text: str) -> Context:
    """Returns the context of a `traceparent`; an empty one if it is malformed."""
    return _PROPAGATOR.extract({"traceparent": text}, Context())


def span_context_of(text: str) -> SpanContext:
    """Returns the context of a `traceparent` as the target of a link."""
    return trace.get_current_span(parent_of(text)).get_span_context()
