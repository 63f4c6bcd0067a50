"""The worker as a process: what wakes it, what it survives, how it stops."""

import asyncio
import signal
import socket
from asyncio.subprocess import PIPE, Process
from pathlib import Path

import pytest
from redis.asyncio import Redis
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from devstack.valkey import Valkey
from score_maker.saga.health import worker_health
from tests.arq_worker.running import COMMAND, Rate, States, environment, settled, worker
from tests.support.faulty_line_provider import FaultyLineProvider
from tests.support.waiting import eventually


@pytest.fixture
def environ(worker_url: str, valkey: Valkey, line_provider: FaultyLineProvider, tmp_path: Path) -> dict[str, str]:
    return environment(worker_url, valkey.url, line_provider.address, heartbeat_file=tmp_path / "heartbeat")


async def ends_cleanly(process: Process) -> None:
    process.send_signal(signal.SIGTERM)
    async with asyncio.timeout(20):
        assert await process.wait() == 0


async def test_a_commit_wakes_the_worker_and_sigterm_ends_it_cleanly(
    environ: dict[str, str], rate: Rate, states: States, tmp_path: Path
) -> None:
    async with worker(environ) as process:
        await rate(3)
        await settled(states, {"confirmed": 3})
        await rate(4)
        await settled(states, {"confirmed": 7})
        await ends_cleanly(process)
    assert not (tmp_path / "heartbeat").exists()


async def test_a_worker_reports_to_redis_and_counts_what_it_settles(
    environ: dict[str, str], valkey: Valkey, rate: Rate, states: States, settled_by_verdict: States
) -> None:
    async with Redis.from_url(valkey.url) as redis:
        await redis.flushall()
        assert await worker_health(redis) == "silent"
        async with worker(environ):
            await rate(3)
            await settled(states, {"confirmed": 3})
            await settled(settled_by_verdict, {"applied": 3})
            await rate(2, event_id=2)
            await settled(settled_by_verdict, {"applied": 5})

            async def reports() -> bool:
                return await worker_health(redis) == "reporting"

            await eventually(reports)


async def test_ratings_are_relayed_while_redis_is_unreachable(
    environ: dict[str, str], rate: Rate, states: States, tmp_path: Path
) -> None:
    async with worker(environ | {"ARQ_WORKER_REDIS_URL": f"unix://{tmp_path}/nobody.sock"}) as process:
        await rate(3)
        await settled(states, {"confirmed": 3})
        await ends_cleanly(process)


async def test_a_worker_reconnects_a_broken_wakeup_connection_and_loses_no_rating(
    environ: dict[str, str], rate: Rate, states: States, worker_engine: AsyncEngine
) -> None:
    async with worker(environ):
        await rate()
        await settled(states, {"confirmed": 1})
        async with worker_engine.connect() as connection:
            await connection.execute(
                text("""
                    SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                    WHERE usename = current_user AND pid <> pg_backend_pid()
                """)
            )
        await rate(5)
        await settled(states, {"confirmed": 6})


async def test_a_port_for_metrics_that_is_taken_is_one_line_that_names_the_setting(
    environ: dict[str, str],
) -> None:
    with socket.create_server(("", 0)) as taken:
        port = str(taken.getsockname()[1])
        process = await asyncio.create_subprocess_exec(
            COMMAND, "run", env=environ | {"ARQ_WORKER_METRICS_PORT": port}, stderr=PIPE
        )
        _, errors = await process.communicate()
    assert process.returncode == 2
    assert errors.decode().splitlines() == [
        f"ARQ_WORKER_METRICS_PORT: cannot listen on port {port}: Address already in use"
    ]
