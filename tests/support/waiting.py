"""Waiting for what other tasks and processes do. The seconds only bound how long a failing test takes to say so."""

import asyncio
import inspect
from collections.abc import Awaitable, Callable
from typing import TypeVar

T = TypeVar("T")

# A fixture that, when called, waits for something or asserts it.
Check = Callable[[], Awaitable[None]]

_POLL_SECONDS = 0.02


async def eventually(condition: Callable[[], Awaitable[bool] | bool], *, within: float = 30) -> None:
    """Returns once the condition holds. Raises TimeoutError."""
    async with asyncio.timeout(within):
        while True:
            holds = condition()
            if await holds if inspect.isawaitable(holds) else holds:
                return
            await asyncio.sleep(_POLL_SECONDS)


async def until(read: Callable[[], Awaitable[T]], accepts: Callable[[T], bool], *, within: float = 30) -> T:
    """The first value that is accepted. Raises AssertionError with the last one that was not."""
    value = await read()
    try:
        async with asyncio.timeout(within):
            while not accepts(value):
                await asyncio.sleep(_POLL_SECONDS)
                value = await read()
    except TimeoutError:
        raise AssertionError(f"after {within} s it was still {value!r}") from None
    return value
