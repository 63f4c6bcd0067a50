"""The interceptors that every call passes: authentication, and errors as gRPC statuses."""

import hmac
from collections.abc import AsyncIterator, Collection
from enum import Enum
from hashlib import sha256
from typing import Any, Never

import grpc
import structlog

from line_provider.events.domain import (
    CannotFinalize,
    EventCancelled,
    EventFinal,
    EventNotFound,
    ExternalIdTaken,
    Invalid,
)
from line_provider.events.watch import WatchInterrupted
from line_provider.grpc_server.behaviours import (
    EVENT_SERVICE,
    SCORE_SERVICE,
    Behaviour,
    Context,
    Continuation,
    Handler,
    StreamBehaviour,
    is_ours,
    wrapped,
)
from line_provider.scores.domain import ScoreRejected
from scoreline_common.database import is_unreachable

log = structlog.get_logger(__name__)

_READS = {f"/{EVENT_SERVICE}/{name}" for name in ("GetEvents", "GetEvent", "WatchEvents")}

_CODES: dict[type[Exception], grpc.StatusCode] = {
    Invalid: grpc.StatusCode.INVALID_ARGUMENT,
    EventNotFound: grpc.StatusCode.NOT_FOUND,
    ExternalIdTaken: grpc.StatusCode.ALREADY_EXISTS,
    EventCancelled: grpc.StatusCode.FAILED_PRECONDITION,
    EventFinal: grpc.StatusCode.FAILED_PRECONDITION,
    CannotFinalize: grpc.StatusCode.FAILED_PRECONDITION,
    ScoreRejected: grpc.StatusCode.FAILED_PRECONDITION,
}


class Role(Enum):
    """The roles whose tokens open the methods that are not open to everybody."""

    ADMIN = "LINE_PROVIDER_ADMIN_TOKEN"
    WORKER = "LINE_PROVIDER_WORKER_TOKEN"


def role_for(method: str) -> Role | None:
    """Returns the role that a method needs: worker for ScoreService, admin for changes of events, None for the rest."""
    if method.startswith(f"/{SCORE_SERVICE}/"):
        return Role.WORKER
    if method.startswith(f"/{EVENT_SERVICE}/") and method not in _READS:
        return Role.ADMIN
    return None


class Authentication(grpc.aio.ServerInterceptor):
    """Lets a call pass if its token has the role that the method needs. A role has two tokens during a rotation."""

    def __init__(self, *, admin_tokens: Collection[str], worker_tokens: Collection[str]) -> None:
        self._roles = {
            _digest(f"Bearer {token}"): role
            for role, tokens in ((Role.ADMIN, admin_tokens), (Role.WORKER, worker_tokens))
            for token in tokens
        }

    async def intercept_service(
        self, continuation: Continuation, handler_call_details: grpc.HandlerCallDetails
    ) -> "Handler | None":
        needed = role_for(handler_call_details.method)
        if needed is None:
            return await continuation(handler_call_details)
        role = self._role_of(handler_call_details)
        if role is needed:
            return await continuation(handler_call_details)
        return grpc.unary_unary_rpc_method_handler(_abort_unauthenticated if role is None else _abort_denied)

    def _role_of(self, details: grpc.HandlerCallDetails) -> Role | None:
        given = [value for key, value in details.invocation_metadata or () if key == "authorization"]
        if len(given) != 1:
            return None
        digest = _digest(str(given[0]))
        # Comparing with every token keeps the time independent of which token it resembles.
        matching = [role for known, role in self._roles.items() if hmac.compare_digest(digest, known)]
        return matching[0] if matching else None


def _digest(authorization: str) -> bytes:
    """Returns a hash: its length is always the same, so that comparing it reveals nothing about a token's length."""
    return sha256(authorization.encode()).digest()


async def _abort_unauthenticated(_request: object, context: Context) -> Never:
    await context.abort(
        grpc.StatusCode.UNAUTHENTICATED,
        "this method needs the metadata `authorization: Bearer TOKEN`, with the token of its role",
    )


async def _abort_denied(_request: object, context: Context) -> Never:
    await context.abort(grpc.StatusCode.PERMISSION_DENIED, "this method needs the token of another role")


class ErrorStatuses(grpc.aio.ServerInterceptor):
    """Reports every error of our own services as a status of the contract with a sentence, never with a traceback."""

    async def intercept_service(
        self, continuation: Continuation, handler_call_details: grpc.HandlerCallDetails
    ) -> "Handler | None":
        handler = await continuation(handler_call_details)
        method = handler_call_details.method
        if handler is None or not is_ours(method):
            return handler
        return wrapped(
            handler,
            lambda behaviour: _with_status(behaviour, method),
            lambda behaviour: _stream_with_status(behaviour, method),
        )


def _with_status(behaviour: Behaviour, method: str) -> Behaviour:
    async def behave(request: Any, context: Context) -> Any:
        try:
            return await behaviour(request, context)
        except grpc.aio.AbortError:
            raise
        except Exception as error:  # noqa: BLE001 - logged by _status
            status = _status(error, method)
        return await context.abort(*status)

    return behave


def _stream_with_status(behaviour: StreamBehaviour, method: str) -> StreamBehaviour:
    async def behave(request: Any, context: Context) -> AsyncIterator[Any]:
        try:
            async for response in behaviour(request, context):
                yield response
        except Exception as error:  # noqa: BLE001 - logged by _status
            status = _status(error, method)
        else:
            return
        await context.abort(*status)

    return behave


def _status(error: Exception, method: str) -> tuple[grpc.StatusCode, str]:
    if code := _CODES.get(type(error)):
        return code, str(error)
    if isinstance(error, WatchInterrupted):
        return grpc.StatusCode.UNAVAILABLE, "changes may have been missed: watch again to get a new snapshot"
    if is_unreachable(error):
        log.warning("database_unreachable", method=method, error=str(error))
        return grpc.StatusCode.UNAVAILABLE, "the database is unreachable; the call may be repeated"
    log.error("call_failed", method=method, exc_info=error)
    return grpc.StatusCode.INTERNAL, "line_provider failed on this call; its log says why"
