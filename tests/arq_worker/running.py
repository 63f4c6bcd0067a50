"""Workers as processes, and what they have done to score_maker's database."""

import asyncio
import os
import sys
from asyncio.subprocess import Process
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

from tests.support.faulty_line_provider import TOKEN
from tests.support.waiting import until

Rate = Callable[..., Awaitable[None]]
States = Callable[[], Awaitable[dict[str, int]]]

COMMAND = Path(sys.executable).with_name("arq-worker")


def environment(worker_url: str, redis_url: str, address: str, *, heartbeat_file: Path) -> dict[str, str]:
    """Returns the environment of a worker; `address` is that of line_provider."""
    return {
        **os.environ,
        "ARQ_WORKER_DATABASE_URL": worker_url,
        "ARQ_WORKER_REDIS_URL": redis_url,
        "ARQ_WORKER_LINE_PROVIDER_ADDRESS": address,
        "ARQ_WORKER_LINE_PROVIDER_TOKEN": TOKEN,
        "ARQ_WORKER_RPC_TIMEOUT": "5",
        "ARQ_WORKER_LEASE": "20.5",
        "ARQ_WORKER_HEARTBEAT_FILE": str(heartbeat_file),
    }


@asynccontextmanager
async def worker(environment: Mapping[str, str]) -> AsyncIterator[Process]:
    process = await asyncio.create_subprocess_exec(COMMAND, "run", env=environment)
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def settled(states: States, expected: dict[str, int]) -> None:
    """Returns once the scores are in these states. Raises AssertionError."""
    await until(states, lambda seen: seen == expected, within=60)
