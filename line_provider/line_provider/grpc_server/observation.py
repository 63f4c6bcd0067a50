"""Records every call: its status and duration in metrics, a span in its trace, and its ids on its log lines."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import Any

import grpc
import structlog
from opentelemetry import trace
from opentelemetry.trace import SpanKind, Status, StatusCode

from line_provider.grpc_server import metrics
from line_provider.grpc_server.behaviours import (
    Behaviour,
    Context,
    Continuation,
    Handler,
    StreamBehaviour,
    is_ours,
    wrapped,
)
from scoreline_common.telemetry.tracing import parent_of

_tracer = trace.get_tracer("line_provider")


class Observation(grpc.aio.ServerInterceptor):
    """Records the calls of our own services. It is the outermost interceptor, so that it sees rejected calls too."""

    async def intercept_service(
        self, continuation: Continuation, handler_call_details: grpc.HandlerCallDetails
    ) -> "Handler | None":
        handler = await continuation(handler_call_details)
        if handler is None or not is_ours(handler_call_details.method):
            return handler
        method = handler_call_details.method.removeprefix("/")
        metadata = dict(handler_call_details.invocation_metadata or ())
        return wrapped(
            handler,
            lambda behaviour: _observed(behaviour, method, metadata),
            lambda behaviour: _observed_stream(behaviour, method, metadata),
        )


def _observed(behaviour: Behaviour, method: str, metadata: dict[str, Any]) -> Behaviour:
    async def behave(request: Any, context: Context) -> Any:
        began = time.perf_counter()
        attributes = {"rpc.system.name": "grpc", "rpc.method": method}
        parent = parent_of(str(metadata.get("traceparent", "")))
        with (
            _tracer.start_as_current_span(
                method, parent, SpanKind.SERVER, attributes, record_exception=False, set_status_on_exception=False
            ) as span,
            _counted(method, metadata, context),
        ):
            try:
                return await behaviour(request, context)
            except grpc.aio.AbortError:
                span.set_status(Status(StatusCode.ERROR, _name(context.code())))
                raise
            finally:
                metrics.RPC_SECONDS.labels(method).observe(time.perf_counter() - began)

    return behave


def _observed_stream(behaviour: StreamBehaviour, method: str, metadata: dict[str, Any]) -> StreamBehaviour:
    async def behave(request: Any, context: Context) -> AsyncIterator[Any]:
        with _counted(method, metadata, context), metrics.WATCHERS.track_inprogress():
            async for response in behaviour(request, context):
                yield response

    return behave


@contextmanager
def _counted(method: str, metadata: dict[str, Any], context: Context) -> Iterator[None]:
    """Counts the call by its status, and binds its ids to its log lines: gRPC runs each call in its own context."""
    structlog.contextvars.bind_contextvars(rpc=method)
    if request_id := metadata.get("x-request-id"):
        structlog.contextvars.bind_contextvars(request_id=str(request_id))
    code = grpc.StatusCode.UNKNOWN.name
    try:
        yield
        code = grpc.StatusCode.OK.name
    except grpc.aio.AbortError:
        code = _name(context.code())
        raise
    except (asyncio.CancelledError, GeneratorExit):
        code = grpc.StatusCode.CANCELLED.name
        raise
    finally:
        metrics.RPCS.labels(method, code).inc()


def _name(code: Any) -> str:
    return str(code.name) if isinstance(code, grpc.StatusCode) else str(code)
