"""uvicorn as score_maker runs it: what never reaches the application is bounded, and answered as a problem too."""

import json
import socket

import uvicorn
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from score_maker.composition import Services
from score_maker.http.app import create_app
from score_maker.http.middleware.guards import SECURITY_HEADERS
from score_maker.http.problems.types import HEADERS_TOO_LONG, MALFORMED_HTTP, MEDIA_TYPE, ProblemType, document
from score_maker.http.server.prefork import until_parent_ends
from score_maker.settings import Settings
from scoreline_common.gc_tuning import freeze_and_relax
from scoreline_common.heartbeat import Heartbeat

# The request line and the headers together; uvicorn itself takes them without end.
MAX_HEAD_BYTES = 64 * 1024


class Server(uvicorn.Server):
    """uvicorn, which finishes responses when it is told to stop; responses that wait for something are ended first.

    One of several workers also stops when the pipe `alive` from its parent closes. A background task that ends by
    itself ends the process, and so does an event loop that hangs (see heartbeat.py).
    """

    def __init__(self, config: uvicorn.Config, alive: int | None = None) -> None:
        super().__init__(config)
        self._alive = alive
        self._heartbeat = Heartbeat()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        if self._alive is not None:
            until_parent_ends(self._alive, self._stop)
        await super().startup(sockets)
        self._heartbeat.beat()
        freeze_and_relax()

    @property
    def _services(self) -> Services | None:
        services: Services | None = self.lifespan.state.get("services")
        return services

    @property
    def has_failed(self) -> bool:
        """Whether a background task ended by itself."""
        return self._services is not None and self._services.background.failed_task is not None

    async def on_tick(self, counter: int) -> bool:
        """uvicorn calls this every 0.1 s; True makes it stop."""
        if counter % 10 == 0:
            self._heartbeat.beat()
        return self.has_failed or await super().on_tick(counter)

    def _stop(self) -> None:
        self.should_exit = True

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        if self._services is not None:
            self._services.end_waits()
        await super().shutdown(sockets)

    async def _serve(self, sockets: list[socket.socket] | None = None) -> None:
        try:
            await super()._serve(sockets)
        finally:
            self._heartbeat.stop()


class Protocol(HttpToolsProtocol):
    """Answers malformed HTTP and endless headers with a problem, and closes the connection."""

    _is_in_head = False
    _is_too_long = False
    # The read in which the head began, which may include the end of the request before, and the reads since then.
    _first_bytes = 0
    _later_bytes = 0

    def data_received(self, data: bytes) -> None:
        if self._is_in_head:
            self._later_bytes += len(data)
        else:
            self._first_bytes, self._later_bytes = len(data), 0
        super().data_received(data)
        # The parser reports a header only once it is complete, which an endless one never is.
        if self._is_in_head and self._later_bytes > MAX_HEAD_BYTES and not self.transport.is_closing():
            self._refuse(HEADERS_TOO_LONG)

    def on_message_begin(self) -> None:
        self._is_in_head = True
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        self._is_in_head = False
        if self._first_bytes + self._later_bytes > MAX_HEAD_BYTES and self._head_bytes() > MAX_HEAD_BYTES:
            self._is_too_long = True
            # Makes the parser fail.
            raise ValueError
        super().on_headers_complete()

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002 - as uvicorn calls it
        """uvicorn calls this if the parser fails."""
        self._refuse(HEADERS_TOO_LONG if self._is_too_long else MALFORMED_HTTP)

    def _head_bytes(self) -> int:
        return len(self.url) + sum(len(name) + len(value) for name, value in self.headers)

    def _refuse(self, problem_type: ProblemType) -> None:
        body = json.dumps(document(problem_type, problem_type.explanation)).encode()
        headers = {"Content-Type": MEDIA_TYPE, "Content-Length": str(len(body)), "Connection": "close"}
        lines = "".join(f"{name}: {value}\r\n" for name, value in (headers | SECURITY_HEADERS).items())
        self.transport.write(STATUS_LINE[problem_type.status] + lines.encode() + b"\r\n" + body)
        self.transport.close()


def configured(settings: Settings) -> uvicorn.Config:
    return uvicorn.Config(
        create_app(settings),
        loop="uvloop",
        http=Protocol,
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        # The app handles proxy headers itself, by its settings.
        proxy_headers=False,
        timeout_graceful_shutdown=int(settings.shutdown_grace.total_seconds()),
    )
