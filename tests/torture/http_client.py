"""An HTTP client that costs almost nothing: one connection, one request at a time, JSON both ways."""

import asyncio
import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from devstack.addresses import Address

# Longer than the service may take for anything: an answer that has not come by then never will.
PATIENCE_SECONDS = 60

_HEAD_END = b"\r\n\r\n"


class NotSent(Exception):
    """The connection was refused: the service never saw the request."""


class ConnectionBroken(Exception):
    """The connection ended before the answer was complete: the outcome of the request is unknown."""


class NoAnswer(Exception):
    """The service kept the connection open and did not answer within the client's patience."""


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    body: Mapping[str, Any]


class Connection:
    """Keeps its connection alive, and opens a new one for the first request after it broke."""

    def __init__(self, address: Address) -> None:
        self._address = address
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def request(
        self,
        method: str,
        path: str,
        *,
        token: str = "",
        prefer: str = "",
        body: Mapping[str, Any] | None = None,
        patience: float = PATIENCE_SECONDS,
    ) -> Answer:
        """Hangs up after `patience` seconds. Raises NotSent, ConnectionBroken and NoAnswer."""
        content = b"" if body is None else json.dumps(body).encode()
        head = [f"{method} {path} HTTP/1.1", f"Host: {self._address}", f"Content-Length: {len(content)}"]
        if token:
            head.append(f"Authorization: Bearer {token}")
        if prefer:
            head.append(f"Prefer: {prefer}")
        if content:
            head.append("Content-Type: application/json")
        try:
            async with asyncio.timeout(patience):
                return await self._exchange("\r\n".join(head).encode() + _HEAD_END + content)
        except TimeoutError:
            self.close()
            raise NoAnswer(f"{method} {path}") from None

    def close(self) -> None:
        if self._streams is not None:
            self._streams[1].close()
            self._streams = None

    async def _exchange(self, request: bytes) -> Answer:
        if self._streams is None:
            try:
                self._streams = await asyncio.open_connection(*self._address)
            except OSError as error:
                raise NotSent from error
        reader, writer = self._streams
        try:
            writer.write(request)
            head = (await reader.readuntil(_HEAD_END)).lower()
            body = await reader.readexactly(_content_length(head))
        except (OSError, asyncio.IncompleteReadError) as error:
            self.close()
            raise ConnectionBroken from error
        if b"connection: close" in head:
            self.close()
        parsed = None
        with suppress(ValueError):
            parsed = json.loads(body)
        return Answer(int(head[9:12]), parsed if isinstance(parsed, dict) else {})


def _content_length(head: bytes) -> int:
    _, _, rest = head.partition(b"content-length:")
    return int(rest.partition(b"\r\n")[0])
