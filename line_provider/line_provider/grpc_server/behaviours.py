"""Handlers of calls, and how an interceptor puts something of its own around what they do."""

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
    """Whether it is a method of this service's contract, not of health or reflection."""
    return method.startswith((f"/{EVENT_SERVICE}/", f"/{SCORE_SERVICE}/"))


def wrapped(
    handler: Any,
    around: Callable[[Behaviour], Behaviour],
    around_stream: Callable[[StreamBehaviour], StreamBehaviour],
) -> Handler:
    """The handler with something around its behaviour, whichever of the two kinds that services here have it is.

    (Its types are those of the synchronous server.)
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
