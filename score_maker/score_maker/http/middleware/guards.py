"""Guards around every request: a limit on the size of its body, and security headers on the response.

Plain ASGI: the framework's base class for middleware buffers streams, and its own limit answers in plain text.
"""

from collections.abc import Mapping
from http import HTTPStatus

from fastapi import Request
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from score_maker.http.problems.handlers import answer as problem_answer
from score_maker.http.problems.types import CONTENT_TOO_LARGE

# A rating is a dozen bytes; only files come near this.
MAX_BODY_BYTES = 16 * 1024

SECURITY_HEADERS = {
    # Pages load only what this service serves, run no inline scripts, and cannot be framed.
    "Content-Security-Policy": (
        "default-src 'self'; img-src 'self' data:; object-src 'none'; base-uri 'none'; form-action 'self'; "
        "frame-ancestors 'none'"
    ),
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
HTTPS_HEADERS = {"Strict-Transport-Security": "max-age=31536000"}


class BodyLimit:
    """Answers 413 if a body exceeds MAX_BODY_BYTES, or the limit in `larger` whose path the request's path starts with.

    That holds for a body that declares its length and for one that is sent in chunks.
    """

    def __init__(self, app: ASGIApp, larger: Mapping[str, int]) -> None:
        self._app = app
        self._larger = larger

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        path: str = scope["path"]
        max_bytes = next((size for start, size in self._larger.items() if path.startswith(start)), MAX_BODY_BYTES)
        declared = _declared_length(scope)
        if declared is not None and declared <= max_bytes:
            # The server passes on no more than was declared.
            await self._app(scope, receive, send)
            return
        detail = f"A body may have at most {max_bytes} bytes."
        if declared is not None:
            answer = problem_answer(Request(scope), CONTENT_TOO_LARGE, detail)
            await answer(scope, receive, send)
            return
        received = 0

        async def receive_limited() -> Message:
            nonlocal received
            message = await receive()
            if message["type"] == "http.request":
                received += len(message.get("body", b""))
                if received > max_bytes:
                    # The only kind of error that the framework passes on while it reads a body.
                    raise HTTPException(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, detail)
            return message

        await self._app(scope, receive_limited, send)


class SecurityHeaders:
    """Adds SECURITY_HEADERS, and over https also HTTPS_HEADERS, to responses that do not set their own."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._headers = _encoded(SECURITY_HEADERS)
        self._names = {name for name, _ in _encoded(SECURITY_HEADERS | HTTPS_HEADERS)}
        self._https_headers = _encoded(SECURITY_HEADERS | HTTPS_HEADERS)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        added = self._https_headers if scope["scheme"] == "https" else self._headers

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                own = {name for name, _ in message["headers"]}
                if not own.isdisjoint(self._names):
                    message["headers"] = [*message["headers"], *(header for header in added if header[0] not in own)]
                else:
                    message["headers"] = [*message["headers"], *added]
            await send(message)

        await self._app(scope, receive, send_with_headers)


def _declared_length(scope: Scope) -> int | None:
    """None for a body in chunks, whose length is not known in advance."""
    length = 0
    for name, value in scope["headers"]:
        if name == b"transfer-encoding":
            return None
        if name == b"content-length":
            # The server has verified that it is a number.
            length = int(value)
    return length


def _encoded(headers: dict[str, str]) -> list[tuple[bytes, bytes]]:
    return [(name.lower().encode(), value.encode()) for name, value in headers.items()]
