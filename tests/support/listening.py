"""A client of GET /events/stream that behaves like a browser's EventSource."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from httpx import AsyncClient, Response


@dataclass(frozen=True)
class Message:
    name: str
    id: str
    data: Any


class Listener:
    def __init__(self, response: Response) -> None:
        self._lines = response.aiter_lines()

    async def next(self) -> Message:
        """The next message, skipping heartbeats."""
        fields: dict[str, str] = {}
        async for line in self._next_lines():
            if line.startswith(":"):
                continue
            if line:
                name, _, value = line.partition(": ")
                fields[name] = value
            elif fields:
                return Message(fields["event"], fields["id"], json.loads(fields["data"]))
        raise EOFError("the stream has ended")

    async def next_of(self, event_id: int) -> Message:
        while (message := await self.next()).data.get("event_id") != event_id:
            pass
        return message

    async def next_heartbeat(self) -> str:
        async for line in self._next_lines():
            if line.startswith(":"):
                return line
        raise EOFError("the stream has ended")

    async def end(self) -> None:
        async for _ in self._next_lines():
            pass

    async def _next_lines(self) -> AsyncIterator[str]:
        async with asyncio.timeout(30):
            async for line in self._lines:
                yield line


@asynccontextmanager
async def listening(
    api: AsyncClient, after: str | None = None, *, last_event_id: str | None = None
) -> AsyncIterator[Listener]:
    parameters = {"after": after} if after is not None else {}
    headers = {"Last-Event-ID": last_event_id} if last_event_id is not None else {}
    async with api.stream("GET", "/events/stream", params=parameters, headers=headers) as response:
        assert response.status_code == 200
        assert response.headers["Content-Type"].startswith("text/event-stream")
        yield Listener(response)
