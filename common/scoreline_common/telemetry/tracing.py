"""OpenTelemetry traces. Where nobody collects them, nothing is recorded and next to nothing is done."""

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
    """Has the spans of this process exported, if its settings say where to, and the last of them at its end.

    A collector that is away costs the service nothing but those spans.
    """
    if settings.otlp_endpoint is None:
        yield
        return
    from scoreline_common.telemetry import otlp  # noqa: PLC0415 - see there

    provider = otlp.tracer_provider(service, settings.otlp_endpoint, settings.trace_ratio)
    trace.set_tracer_provider(provider)
    try:
        yield
    finally:
        otlp.shut_down(provider)


def traceparent(span: Span | None = None) -> str | None:
    """The span, or the current one, as W3C writes it; None where it is not recorded, so that nobody follows it."""
    context = (span or trace.get_current_span()).get_span_context()
    if not (context.is_valid and context.trace_flags.sampled):
        return None
    return f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}"


def parent_of(text: str) -> Context:
    """The context whose `traceparent` this is; one of nothing where it is none."""
    return _PROPAGATOR.extract({"traceparent": text}, Context())


def span_context_of(text: str) -> SpanContext:
    """What a span can be linked with."""
    return trace.get_current_span(parent_of(text)).get_span_context()
