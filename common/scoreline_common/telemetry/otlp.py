"""The export of traces by OTLP. Importing it takes a tenth of a second, so only processes with a collector do."""

from importlib.metadata import version

from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.sampling import ParentBasedTraceIdRatio

# How long a process that stops waits for the export of its last spans.
FLUSH_SECONDS = 2


def tracer_provider(service: str, endpoint: str, ratio: float) -> TracerProvider:
    """Exports from a thread of its own; an unreachable collector costs only the spans."""
    provider = TracerProvider(
        resource=Resource.create({"service.name": service, "service.version": version(service)}),
        sampler=ParentBasedTraceIdRatio(ratio),
        shutdown_on_exit=False,
    )
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint=endpoint, timeout=FLUSH_SECONDS)))
    return provider


def shut_down(provider: TracerProvider) -> None:
    provider.force_flush(FLUSH_SECONDS * 1_000)
    provider.shutdown()
