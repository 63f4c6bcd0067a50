"""The command line `arq-worker`, as operators use it."""

import asyncio
import os
from asyncio.subprocess import PIPE
from pathlib import Path

import grpc
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from arq_worker.relay import Relay
from score_maker.storage import locks
from scoreline_common.database import autocommit
from tests.arq_worker.running import COMMAND, Rate, States, environment
from tests.support.faulty_line_provider import FaultyLineProvider
from tests.support.waiting import until


def database_only(worker_url: str) -> dict[str, str]:
    """Returns the environment of a command that needs the database alone."""
    return environment(worker_url, "redis://localhost:1", "localhost:1", heartbeat_file=Path("heartbeat"))


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
    """Runs a command to its end; returns its exit code and what it printed."""
    process = await asyncio.create_subprocess_exec(COMMAND, *arguments, env=database_only(worker_url), stdout=PIPE)
    output, _ = await process.communicate()
    assert process.returncode is not None
    return process.returncode, output.decode()


async def test_an_operator_lists_stuck_messages_and_retries_them(
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
    assert await arq_worker("outbox", "retry", first_id, worker_url=worker_url) == (0, "1 messages are due now.\n")
    assert await relay.drain() == 1
    assert await arq_worker("outbox", "retry", "--all", worker_url=worker_url) == (0, "1 messages are due now.\n")
    assert await relay.drain() == 1
    assert await states() == {"confirmed": 2}


async def test_retry_needs_either_ids_or_all(worker_url: str) -> None:
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
            env=database_only(worker_url) | {"ARQ_WORKER_LEASE": value},
            stderr=PIPE,
        )
        _, errors = await process.communicate()
        assert process.returncode == 2
        assert errors.decode().startswith("ARQ_WORKER_LEASE: ")
        assert expected in errors.decode()
    assert (await arq_worker("outbox", "list", worker_url=worker_url))[0] == 0


async def test_reconcile_waits_for_the_pass_of_a_worker(
    worker_url: str, owner: AsyncEngine, line_provider: FaultyLineProvider
) -> None:
    environ = database_only(worker_url) | {"ARQ_WORKER_LINE_PROVIDER_ADDRESS": line_provider.address}
    listings = 0

    async def count() -> None:
        nonlocal listings
        listings += 1

    line_provider.before_listing = count
    process: asyncio.subprocess.Process | None = None

    async def sessions() -> int:
        """How many sessions the database has had."""
        async with autocommit(owner) as connection:
            query = text("SELECT sessions FROM pg_stat_database WHERE datname = current_database()")
            return int(await connection.scalar(query) or 0)

    async def pass_of_a_worker() -> None:
        nonlocal process
        before = await sessions()
        process = await asyncio.create_subprocess_exec(COMMAND, "reconcile", env=environ, stdout=PIPE)
        # It has tried for the lock, and tries again.
        await until(sessions, lambda now: now >= before + 2)
        assert listings == 0

    assert await locks.run_exclusively(
        owner.url.render_as_string(hide_password=False), locks.RECONCILE, pass_of_a_worker
    )
    assert process is not None
    output, _ = await process.communicate()
    assert (process.returncode, listings) == (0, 1)
    assert output.decode() == "0 events compared, 0 differed.\n"
