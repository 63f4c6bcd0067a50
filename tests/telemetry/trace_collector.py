"""A collector of traces, as far as OTLP over gRPC needs one."""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import grpc
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc


@dataclass(frozen=True, slots=True, kw_only=True)
class CollectedSpan:
    service: str
    name: str
    trace_id: str
    span_id: str
    parent_id: str
    linked_ids: frozenset[str]
    attributes: dict[str, str]


class TraceCollector(trace_service_pb2_grpc.TraceServiceServicer):
    """An async context manager; `spans` are those that came, by trace."""

    def __init__(self) -> None:
        self.spans: dict[str, list[CollectedSpan]] = defaultdict(list)
        self._server = grpc.aio.server()
        trace_service_pb2_grpc.add_TraceServiceServicer_to_server(self, self._server)  # type: ignore[no-untyped-call]
        self.endpoint = f"http://127.0.0.1:{self._server.add_insecure_port('127.0.0.1:0')}"

    async def __aenter__(self) -> "TraceCollector":
        await self._server.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._server.stop(0)

    async def Export(self, request: Any, _context: Any) -> Any:  # noqa: N802
        for span in _spans(request):
            self.spans[span.trace_id].append(span)
        return trace_service_pb2.ExportTraceServiceResponse()


def _spans(request: Any) -> Iterator[CollectedSpan]:
    for resource in request.resource_spans:
        service = _attributes(resource.resource.attributes)["service.name"]
        for scope in resource.scope_spans:
            for span in scope.spans:
                yield CollectedSpan(
                    service=service,
                    name=span.name,
                    trace_id=span.trace_id.hex(),
                    span_id=span.span_id.hex(),
                    parent_id=span.parent_span_id.hex(),
                    linked_ids=frozenset(link.span_id.hex() for link in span.links),
                    attributes=_attributes(span.attributes),
                )


def _attributes(pairs: Any) -> dict[str, str]:
    return {pair.key: str(getattr(pair.value, pair.value.WhichOneof("value"))) for pair in pairs}
