"""The worker as a process: what wakes it, what it survives, how it stops."""

import asyncio
import os
import signal
import socket
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import grpc
from redis.asyncio import Redis
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from arq_worker.relay import Relay
from devstack.valkey import Valkey
from score_maker.saga.health import worker_health
from tests.support.faulty_line_provider import TOKEN, FaultyLineProvider

Rate = Callable[..., Awaitable[None]]
States = Callable[[], Awaitable[dict[str, int]]]

COMMAND = Path(sys.executable).with_name("arq-worker")


def settings(worker_url: str, redis_url: str, address: str) -> dict[str, str]:
    return {
        "ARQ_WORKER_DATABASE_URL": worker_url,
        "ARQ_WORKER_REDIS_URL": redis_url,
        "ARQ_WORKER_LINE_PROVIDER_ADDRESS": address,
        "ARQ_WORKER_LINE_PROVIDER_TOKEN": TOKEN,
        "ARQ_WORKER_RPC_TIMEOUT": "5",
        "ARQ_WORKER_LEASE": "20.5",
    }


@asynccontextmanager
async def worker(worker_url: str, redis_url: str, address: str) -> AsyncIterator[Process]:
    process = await asyncio.create_subprocess_exec(
        COMMAND, "run", env=os.environ | settings(worker_url, redis_url, address)
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def eventually(states: States, expected: dict[str, int]) -> None:
    seen: dict[str, int] = {}
    try:
        async with asyncio.timeout(20):
            while (seen := await states()) != expected:
                await asyncio.sleep(0.02)
    except TimeoutError:
        raise AssertionError(f"still {seen} instead of {expected}") from None


async def test_a_commit_wakes_the_worker_and_sigterm_ends_it_cleanly(
    worker_url: str, valkey: Valkey, line_provider: FaultyLineProvider, rate: Rate, states: States
) -> None:
    async with worker(worker_url, valkey.url, line_provider.address) as process:
        await rate(3)
        await eventually(states, {"confirmed": 3})
        await rate(4)
        await eventually(states, {"confirmed": 7})
        process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(20):
            assert await process.wait() == 0


async def test_a_worker_reports_that_it_lives_and_counts_what_it_settles(
    worker_url: str,
    valkey: Valkey,
    line_provider: FaultyLineProvider,
    rate: Rate,
    states: States,
    worker_engine: AsyncEngine,
) -> None:
    async def counted() -> dict[str, int]:
        async with worker_engine.connect() as connection:
            rows = await connection.execute(
                text("SELECT outcome || reason AS ruling, sum(ratings)::int AS ratings FROM throughput GROUP BY ruling")
            )
            return {row.ruling: row.ratings for row in rows}

    async with Redis.from_url(valkey.url) as redis:
        await redis.flushall()
        assert await worker_health(redis) == "silent"
        async with worker(worker_url, valkey.url, line_provider.address):
            await rate(3)
            await eventually(states, {"confirmed": 3})
            await eventually(counted, {"applied": 3})
            await rate(2, event_id=2)
            await eventually(counted, {"applied": 5})
            async with asyncio.timeout(20):
                while await worker_health(redis) != "reporting":
                    await asyncio.sleep(0.02)


async def test_ratings_are_relayed_while_redis_is_away(
    worker_url: str, line_provider: FaultyLineProvider, rate: Rate, states: States, tmp_path: Path
) -> None:
    async with worker(worker_url, f"unix://{tmp_path}/nobody.sock", line_provider.address) as process:
        await rate(3)
        await eventually(states, {"confirmed": 3})
        process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(20):
            assert await process.wait() == 0


async def test_a_broken_wakeup_connection_is_made_anew_and_loses_no_rating(
    worker_url: str,
    valkey: Valkey,
    line_provider: FaultyLineProvider,
    rate: Rate,
    states: States,
    worker_engine: AsyncEngine,
) -> None:
    async with worker(worker_url, valkey.url, line_provider.address):
        await rate()
        await eventually(states, {"confirmed": 1})
        async with worker_engine.connect() as connection:
            await connection.execute(
                text("""
                    SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                    WHERE usename = current_user AND pid <> pg_backend_pid()
                """)
            )
        await rate(5)
        await eventually(states, {"confirmed": 6})


async def test_a_missing_setting_is_one_line_that_names_it_and_the_file_to_copy(tmp_path: Path) -> None:
    process = await asyncio.create_subprocess_exec(
        COMMAND, "run", cwd=tmp_path, env={"PATH": os.environ["PATH"]}, stdout=PIPE, stderr=PIPE
    )
    _, errors = await process.communicate()
    assert process.returncode == 2
    assert errors.decode().splitlines() == [
        "ARQ_WORKER_LINE_PROVIDER_ADDRESS: is missing. See arq_worker/.env_example: copy it to .env and edit it."
    ]


async def arq_worker(*arguments: str, worker_url: str) -> tuple[int, str]:
    """Runs a command to its end; answers with its exit code and what it printed."""
    process = await asyncio.create_subprocess_exec(
        COMMAND, *arguments, env=os.environ | settings(worker_url, "redis://localhost:1", "localhost:1"), stdout=PIPE
    )
    output, _ = await process.communicate()
    assert process.returncode is not None
    return process.returncode, output.decode()


async def test_an_operator_sees_what_is_stuck_and_has_it_sent_now(
    worker_url: str,
    owner: AsyncEngine,
    rate: Rate,
    states: States,
    relay: Relay,
    line_provider: FaultyLineProvider,
) -> None:
    answer, line_provider.answer = line_provider.answer, lambda request: grpc.StatusCode.INTERNAL
    await rate(2)
    assert await relay.drain() == 0
    async with owner.begin() as connection:
        await connection.execute(text("UPDATE scores_outbox SET next_attempt_at = now() + interval '1 hour'"))

    status, listed = await arq_worker("outbox", "list", worker_url=worker_url)
    assert status == 0
    rows = listed.splitlines()[1:]
    assert len(rows) == 2
    assert all("INTERNAL: as the test wants it" in row for row in rows)

    line_provider.answer = answer
    first_id = rows[0].split()[0]
    assert await arq_worker("outbox", "retry", first_id, worker_url=worker_url) == (0, "1 will be sent now.\n")
    assert await relay.drain() == 1
    assert await arq_worker("outbox", "retry", "--all", worker_url=worker_url) == (0, "1 will be sent now.\n")
    assert await relay.drain() == 1
    assert await states() == {"confirmed": 2}


async def test_retry_wants_to_know_what(worker_url: str) -> None:
    for arguments in ((), ("1", "--all")):
        status, _ = await arq_worker("outbox", "retry", *arguments, worker_url=worker_url)
        assert status == 2


async def test_a_number_of_seconds_is_a_number(worker_url: str, tmp_path: Path) -> None:
    for value, expected in (
        ("soon", "must be a number of seconds, like 10 or 0.5"),
        ("0", "must be more than 0 seconds"),
    ):
        process = await asyncio.create_subprocess_exec(
            COMMAND,
            "outbox",
            "list",
            cwd=tmp_path,
            env=os.environ | settings(worker_url, "redis://localhost:1", "localhost:1") | {"ARQ_WORKER_LEASE": value},
            stderr=PIPE,
        )
        _, errors = await process.communicate()
        assert process.returncode == 2
        assert errors.decode().startswith("ARQ_WORKER_LEASE: ")
        assert expected in errors.decode()
    assert (await arq_worker("outbox", "list", worker_url=worker_url))[0] == 0


async def test_a_port_for_metrics_that_is_taken_is_one_line_that_names_the_setting(worker_url: str) -> None:
    with socket.create_server(("", 0)) as taken:
        port = str(taken.getsockname()[1])
        environment = settings(worker_url, "redis://localhost:1", "localhost:1") | {"ARQ_WORKER_METRICS_PORT": port}
        process = await asyncio.create_subprocess_exec(COMMAND, "run", env=os.environ | environment, stderr=PIPE)
        _, errors = await process.communicate()
    assert process.returncode == 2
    assert errors.decode().splitlines() == [
        f"ARQ_WORKER_METRICS_PORT: cannot listen on port {port}: Address already in use"
    ]
