"""Serves score_maker over HTTP on its own port."""

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


def changed(settings: Settings, **changes: Any) -> Settings:
    """The settings with these changes, validated like those from the environment, which `model_copy` would not do."""
    return Settings(**{**settings.model_dump(), **changes})


@asynccontextmanager
async def serving(settings: Settings) -> AsyncIterator[AsyncClient]:
    """A client without cookies of a score_maker with these settings. Leaving the context stops the server."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        server = Server(configured(settings))
        # Not `serve`, which would take over the signals from pytest: the server shares the tests' loop and main thread.
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
    """A client of a score_maker that accepts the issuer's tokens. Event 1 is open."""
    line_provider.put(event(1))
    return serving(changed(settings, **issuer.settings(), **changes))
