"""Waiting for what other processes do."""

import asyncio
from collections.abc import Awaitable, Callable


async def eventually(condition: Callable[[], Awaitable[bool]], *, within: float = 30) -> None:
    """Returns once the condition holds; the seconds only bound how long a failing test takes to say so."""
    async with asyncio.timeout(within):
        while not await condition():
            await asyncio.sleep(0.02)
