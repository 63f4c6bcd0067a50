"""Handlers of RPCs, and how an interceptor wraps the behaviour (gRPC's term) of a handler."""

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, TypeAlias

import grpc

from scoreline.line_provider.v1 import events_pb2, scores_pb2

Context = grpc.aio.ServicerContext[Any, Any]
# Generic in its stubs only.
Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"
Continuation: TypeAlias = Callable[[grpc.HandlerCallDetails], Awaitable["Handler | None"]]
Behaviour: TypeAlias = Callable[[Any, Context], Awaitable[Any]]
StreamBehaviour: TypeAlias = Callable[[Any, Context], AsyncIterator[Any]]


EVENT_SERVICE = events_pb2.DESCRIPTOR.services_by_name["EventService"].full_name
SCORE_SERVICE = scores_pb2.DESCRIPTOR.services_by_name["ScoreService"].full_name


def is_ours(method: str) -> bool:
    """Tells whether the method belongs to this service's contract, not to health or reflection."""
    return method.startswith((f"/{EVENT_SERVICE}/", f"/{SCORE_SERVICE}/"))


def wrapped(
    handler: Any,
    around: Callable[[Behaviour], Behaviour],
    around_stream: Callable[[StreamBehaviour], StreamBehaviour],
) -> Handler:
    """Returns the handler with its behaviour wrapped. The services here have unary and server-streaming methods only.

    `handler` is Any because its stubs describe the synchronous server.
    """
    if handler.unary_stream is not None:
        return grpc.unary_stream_rpc_method_handler(
            around_stream(handler.unary_stream),
            request_deserializer=handler.request_deserializer,
            response_serializer=handler.response_serializer,
        )
    return grpc.unary_unary_rpc_method_handler(
        around(handler.unary_unary),
        request_deserializer=handler.request_deserializer,
        response_serializer=handler.response_serializer,
    )
