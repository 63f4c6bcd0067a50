"""OpenTelemetry traces. Where nobody collects them, nothing is recorded and next to nothing is done."""

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.sampling import ParentBasedTraceIdRatio
from opentelemetry.trace import Span, SpanContext
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from scoreline_telemetry.settings import TelemetrySettings

# Of a process that ends, for what it has not exported yet.
FLUSH_SECONDS = 2

_PROPAGATOR = TraceContextTextMapPropagator()


@contextmanager
def exporting(service: str, settings: TelemetrySettings) -> Iterator[None]:
    """Has the spans of this process exported, if its settings say where to, and the last of them at its end.

    A collector that is away costs the service nothing but those spans.
    """
    if settings.otlp_endpoint is None:
        yield
        return
    provider = TracerProvider(
        resource=Resource.create({"service.name": service, "service.version": version(service)}),
        sampler=ParentBasedTraceIdRatio(settings.trace_ratio),
        shutdown_on_exit=False,
    )
    exporter = OTLPSpanExporter(endpoint=settings.otlp_endpoint, timeout=FLUSH_SECONDS)
    provider.add_span_processor(BatchSpanProcessor(exporter))
    trace.set_tracer_provider(provider)
    try:
        yield
    finally:
        provider.force_flush(FLUSH_SECONDS * 1_000)
        provider.shutdown()


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
