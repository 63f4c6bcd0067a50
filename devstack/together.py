"""Concurrent steps that succeed or fail as one."""

import asyncio
from collections.abc import Awaitable


async def together(*steps: Awaitable[None]) -> None:
    """Runs all steps concurrently. When one fails, cancels the others and raises the error of the first."""
    try:
        async with asyncio.TaskGroup() as group:
            for step in steps:
                group.create_task(_await(step))
    except ExceptionGroup as failures:
        raise failures.exceptions[0] from None


async def _await(step: Awaitable[None]) -> None:
    await step
