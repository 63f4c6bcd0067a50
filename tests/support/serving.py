"""score_maker served over HTTP on a port of its own."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

from httpx import AsyncClient

from score_maker.http.server.server import Server, configured
from score_maker.settings import Settings
from tests.support.scripted_issuer import ScriptedIssuer
from tests.support.scripted_line_provider import ScriptedLineProvider, event


@asynccontextmanager
async def serving(settings: Settings) -> AsyncIterator[AsyncClient]:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        server = Server(configured(settings))
        # As a thread of its own would, but the tests share its loop: signals stay pytest's.
        task = asyncio.create_task(server._serve(sockets=[listening]))
        async with AsyncClient(base_url=f"http://127.0.0.1:{listening.getsockname()[1]}") as client:
            while not server.started:
                assert not task.done(), "it did not start"
                await asyncio.sleep(0.01)
            try:
                yield client
            finally:
                server.should_exit = True
                await task


def trusting(
    settings: Settings, line_provider: ScriptedLineProvider, issuer: ScriptedIssuer, **changes: Any
) -> AbstractAsyncContextManager[AsyncClient]:
    """score_maker with the issuer's tokens, and event 1 open."""
    line_provider.put(event(1))
    return serving(Settings(**{**settings.model_dump(), **issuer.settings(), **changes}))
