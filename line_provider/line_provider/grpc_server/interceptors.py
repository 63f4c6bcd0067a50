"""What every call passes: who may call, and how a failure is told."""

import hmac
from collections.abc import AsyncIterator, Collection
from enum import Enum
from hashlib import sha256
from typing import Any, Never

import grpc
import structlog

from line_provider.events.domain import (
    EventCancelled,
    EventFinal,
    EventNotFound,
    ExternalIdTaken,
    Invalid,
    NotToBeFinal,
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
from line_provider.scores.domain import ScoreRefused
from scoreline_common.database import is_unreachable

log = structlog.get_logger(__name__)

_READS = {f"/{EVENT_SERVICE}/{name}" for name in ("GetEvents", "GetEvent", "WatchEvents")}

_CODES: dict[type[Exception], grpc.StatusCode] = {
    Invalid: grpc.StatusCode.INVALID_ARGUMENT,
    EventNotFound: grpc.StatusCode.NOT_FOUND,
    ExternalIdTaken: grpc.StatusCode.ALREADY_EXISTS,
    EventCancelled: grpc.StatusCode.FAILED_PRECONDITION,
    EventFinal: grpc.StatusCode.FAILED_PRECONDITION,
    NotToBeFinal: grpc.StatusCode.FAILED_PRECONDITION,
    ScoreRefused: grpc.StatusCode.FAILED_PRECONDITION,
}


class Role(Enum):
    """Who may call what is not open to all."""

    ADMIN = "LINE_PROVIDER_ADMIN_TOKEN"
    WORKER = "LINE_PROVIDER_WORKER_TOKEN"


def role_for(method: str) -> Role | None:
    """Whose method it is: ScoreService is the worker's, what changes events the admin's, and the rest everybody's."""
    if method.startswith(f"/{SCORE_SERVICE}/"):
        return Role.WORKER
    if method.startswith(f"/{EVENT_SERVICE}/") and method not in _READS:
        return Role.ADMIN
    return None


class Authentication(grpc.aio.ServerInterceptor):
    """Lets callers do what the role of their token may. A role has two tokens while one takes the other's place."""

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
        return grpc.unary_unary_rpc_method_handler(_refuse if role is None else _refuse_role)

    def _role_of(self, details: grpc.HandlerCallDetails) -> Role | None:
        given = [value for key, value in details.invocation_metadata or () if key == "authorization"]
        if len(given) != 1:
            return None
        digest = _digest(str(given[0]))
        # All are compared, so that the time tells nothing of which it is like.
        matching = [role for known, role in self._roles.items() if hmac.compare_digest(digest, known)]
        return matching[0] if matching else None


def _digest(authorization: str) -> bytes:
    """Of one length whatever was sent."""
    return sha256(authorization.encode()).digest()


async def _refuse(_request: object, context: Context) -> Never:
    await context.abort(
        grpc.StatusCode.UNAUTHENTICATED, "this method needs the metadata `authorization: Bearer TOKEN`, its own token"
    )


async def _refuse_role(_request: object, context: Context) -> Never:
    await context.abort(grpc.StatusCode.PERMISSION_DENIED, "this method needs another token than the one that was sent")


class Failures(grpc.aio.ServerInterceptor):
    """Tells a failure of our own services by the contract's code and a sentence, never by a traceback."""

    async def intercept_service(
        self, continuation: Continuation, handler_call_details: grpc.HandlerCallDetails
    ) -> "Handler | None":
        handler = await continuation(handler_call_details)
        method = handler_call_details.method
        if handler is None or not is_ours(method):
            return handler
        return wrapped(
            handler,
            lambda behaviour: _telling(behaviour, method),
            lambda behaviour: _telling_stream(behaviour, method),
        )


def _telling(behaviour: Behaviour, method: str) -> Behaviour:
    async def behave(request: Any, context: Context) -> Any:
        try:
            return await behaviour(request, context)
        except grpc.aio.AbortError:
            raise
        except Exception as error:  # noqa: BLE001 - told and logged by _status
            status = _status(error, method)
        return await context.abort(*status)

    return behave


def _telling_stream(behaviour: StreamBehaviour, method: str) -> StreamBehaviour:
    async def behave(request: Any, context: Context) -> AsyncIterator[Any]:
        try:
            async for response in behaviour(request, context):
                yield response
        except Exception as error:  # noqa: BLE001 - told and logged by _status
            status = _status(error, method)
        else:
            return
        await context.abort(*status)

    return behave


def _status(error: Exception, method: str) -> tuple[grpc.StatusCode, str]:
    if code := _CODES.get(type(error)):
        return code, str(error)
    if isinstance(error, WatchInterrupted):
        return grpc.StatusCode.UNAVAILABLE, "changes may have been missed: watch again for a new snapshot"
    if is_unreachable(error):
        log.warning("database_unreachable", method=method, error=str(error))
        return grpc.StatusCode.UNAVAILABLE, "the database cannot be reached now; the call may be repeated"
    log.error("call_failed", method=method, exc_info=error)
    return grpc.StatusCode.INTERNAL, "line_provider failed on this call; its log says why"
