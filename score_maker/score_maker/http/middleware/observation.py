"""What is told of every request: how it ended and how long it took, in metrics; and its id, in the logs and the answer.

Plain ASGI around all else, so that nothing is answered unseen. Traces are FastAPI's own affair.
"""

import random
import re
import time

import structlog
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from score_maker import metrics

# An id that comes along is believed where it can be one, and told to line_provider and to whoever reads logs.
_REQUEST_ID = re.compile(rb"[\w.:-]{1,128}")
_UNKNOWN_ROUTE = "(none)"
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_WAITS = "scoreline.waits"
_ROUTE = "scoreline.route"


class Observation:
    """Gives each request an id, answered as X-Request-ID, and counts how it went."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

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
            await self._app(scope, receive, send_with_id)
        finally:
            method = scope["method"] if scope["method"] in _METHODS else "other"
            route = scope.get(_ROUTE) or getattr(scope.get("route"), "path", _UNKNOWN_ROUTE)
            metrics.request_counter(method, route, str(status)).inc()
            if _WAITS not in scope:
                metrics.request_histogram(method, route).observe(time.perf_counter() - began)


def waits(scope: Scope) -> None:
    """Says that how long this request takes is its client's wish."""
    scope[_WAITS] = True


def goes_by(scope: Scope, route: str) -> None:
    """Says which route it is that answers this request, if that is none of the framework's."""
    scope[_ROUTE] = route


def _own_id(scope: Scope) -> bytes | None:
    for name, value in scope["headers"]:
        if name == b"x-request-id" and _REQUEST_ID.fullmatch(value):
            return bytes(value)
    return None
