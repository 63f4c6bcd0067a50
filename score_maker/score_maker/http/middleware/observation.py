"""Observes every request: outcome and duration in metrics, its id in logs and the response, its span in a trace.

Plain ASGI around everything else, so that nothing is answered unseen.
"""

import random
import re
import time
from contextlib import AbstractContextManager

import structlog
from opentelemetry import trace
from opentelemetry.trace import SpanKind, Status, StatusCode
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from score_maker.http import metrics
from scoreline_common.telemetry.tracing import parent_of

# An id that the client sends is used if it has this form, and passed on to line_provider and to the logs.
_REQUEST_ID = re.compile(rb"[\w.:-]{1,128}")
_UNKNOWN_ROUTE = "(none)"
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_CLIENT_DECIDES_DURATION = "scoreline.client_decides_duration"
_ROUTE = "scoreline.route"

_tracer = trace.get_tracer("score_maker")


class Observation:
    """Gives each request an id, returned as X-Request-ID, and records how it went; `traced` gives it a span too."""

    def __init__(self, app: ASGIApp, *, traced: bool) -> None:
        self._app = app
        self._traced = traced

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = _own_id(scope) or b"%016x" % random.getrandbits(64)
        # Each request runs in a context of its own.
        structlog.contextvars.bind_contextvars(request_id=request_id.decode())
        status, began = 500, time.perf_counter()

        async def send_with_id(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message["headers"], (b"x-request-id", request_id)]
            await send(message)

        try:
            if self._traced:
                with _span(scope) as span:
                    await self._app(scope, receive, send_with_id)
                    _complete(span, scope, status)
            else:
                await self._app(scope, receive, send_with_id)
        finally:
            method, route = _method(scope), _route(scope)
            metrics.request_counter(method, route, str(status)).inc()
            if _CLIENT_DECIDES_DURATION not in scope:
                metrics.request_histogram(method, route).observe(time.perf_counter() - began)


def exclude_from_latency(scope: Scope) -> None:
    """Keeps the request out of the latency metric: its client decides how long it takes."""
    scope[_CLIENT_DECIDES_DURATION] = True


def set_route(scope: Scope, route: str) -> None:
    """Says which route answers this request, if the framework's router does not know."""
    scope[_ROUTE] = route


def _method(scope: Scope) -> str:
    return scope["method"] if scope["method"] in _METHODS else "other"


def _route(scope: Scope) -> str:
    route: str = scope.get(_ROUTE) or getattr(scope.get("route"), "path", None) or _UNKNOWN_ROUTE
    return route


def _span(scope: Scope) -> AbstractContextManager[trace.Span]:
    """Starts the span of the request, as the child of the one in `traceparent`, if the client sent one."""
    sent = next((value for name, value in scope["headers"] if name == b"traceparent"), b"")
    return _tracer.start_as_current_span(
        _method(scope),
        parent_of(sent.decode("latin-1")),
        SpanKind.SERVER,
        {"http.request.method": scope["method"], "url.path": scope["path"], "url.scheme": scope["scheme"]},
    )


def _complete(span: trace.Span, scope: Scope, status: int) -> None:
    """Adds what is known only once the request was answered, by OpenTelemetry's conventions for HTTP servers."""
    span.update_name(f"{_method(scope)} {_route(scope)}")
    span.set_attributes({"http.route": _route(scope), "http.response.status_code": status})
    if status >= 500:
        span.set_status(Status(StatusCode.ERROR))


def _own_id(scope: Scope) -> bytes | None:
    for name, value in scope["headers"]:
        if name == b"x-request-id" and _REQUEST_ID.fullmatch(value):
            return bytes(value)
    return None
