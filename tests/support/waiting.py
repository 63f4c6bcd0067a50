"""Waits for the effects of other tasks and processes. The time limits only matter to a test that fails."""

import asyncio
import inspect
from collections.abc import Awaitable, Callable
from typing import TypeVar

T = TypeVar("T")

# The type of a fixture that is called to wait for a condition or to assert it.
Check = Callable[[], Awaitable[None]]

_POLL_SECONDS = 0.02


async def eventually(condition: Callable[[], Awaitable[bool] | bool], *, within: float = 30) -> None:
    """Returns once the condition holds. Raises TimeoutError if that takes too long."""
    async with asyncio.timeout(within):
        while True:
            holds = condition()
            if await holds if inspect.isawaitable(holds) else holds:
                return
            await asyncio.sleep(_POLL_SECONDS)


async def until(read: Callable[[], Awaitable[T]], accepts: Callable[[T], bool], *, within: float = 30) -> T:
    """Returns the first value that is accepted. Raises AssertionError with the last value if none is in time."""
    value = await read()
    try:
        async with asyncio.timeout(within):
            while not accepts(value):
                await asyncio.sleep(_POLL_SECONDS)
                value = await read()
    except TimeoutError:
        raise AssertionError(f"after {within} s it was still {value!r}") from None
    return value
