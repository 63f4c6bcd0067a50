"""What a worker does when one of its background tasks fails, ends or hangs."""

import asyncio
import os
import signal
import sys
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest

from devstack.addresses import Address
from devstack.valkey import Valkey
from tests.arq_worker import faulty_worker
from tests.arq_worker.running import COMMAND, Rate, States, environment, settled, worker
from tests.support.faulty_line_provider import FaultyLineProvider
from tests.support.waiting import eventually

ROOT = Path(__file__).parents[2]


class FaultyWorker:
    """A worker with a fault, and what it has written to standard error so far."""

    def __init__(self, process: asyncio.subprocess.Process, log: Path) -> None:
        self._process = process
        self._log = log

    @property
    def log(self) -> str:
        return self._log.read_text()

    @property
    def has_ended(self) -> bool:
        return self._process.returncode is not None

    async def exit_code(self) -> int:
        async with asyncio.timeout(90):
            return await self._process.wait()

    async def until_logged(self, text: str) -> None:
        await eventually(lambda: text in self.log or self.has_ended, within=90)
        assert not self.has_ended, self.log
        assert text in self.log

    async def stop(self) -> int:
        self._process.send_signal(signal.SIGTERM)
        return await self.exit_code()


@pytest.fixture
def environ(worker_url: str, valkey: Valkey, line_provider: FaultyLineProvider, tmp_path: Path) -> dict[str, str]:
    # One relay: another would do the work of one that fails.
    one_relay = {"ARQ_WORKER_RELAYS": "1"}
    return one_relay | environment(worker_url, valkey.url, line_provider.address, heartbeat_file=tmp_path / "heartbeat")


@asynccontextmanager
async def faulty(fault: str, environ: dict[str, str], folder: Path) -> AsyncIterator[FaultyWorker]:
    log = folder / "faulty_worker.log"
    with log.open("w") as stderr:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", faulty_worker.__name__, fault, "run"), cwd=ROOT, env=environ, stderr=stderr
        )
    try:
        yield FaultyWorker(process, log)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


@pytest.mark.parametrize(
    ("fault", "logged"),
    [
        ("relay_fails_once", "relay_failed"),
        ("measuring_fails_once", "job_failed"),
        ("reconcile_fails_once", "job_failed"),
    ],
)
async def test_a_loop_that_meets_an_unexpected_error_logs_its_traceback_and_goes_on(
    fault: str, logged: str, environ: dict[str, str], rate: Rate, states: States, tmp_path: Path
) -> None:
    async with faulty(fault, environ, tmp_path) as worker:
        await worker.until_logged(faulty_worker.WORKS_AGAIN)
        await rate(3)
        await settled(states, {"confirmed": 3})
        assert await worker.stop() == 0
        assert logged in worker.log
        assert "Traceback" in worker.log
        assert faulty_worker.INJECTED in worker.log


@pytest.mark.parametrize(
    ("fault", "task"), [("relay_ends", "relay-1"), ("measuring_ends", "measuring"), ("schedule_ends", "schedule")]
)
async def test_a_task_that_ends_by_itself_ends_the_process_and_is_named(
    fault: str, task: str, environ: dict[str, str], owner: object, tmp_path: Path
) -> None:
    async with faulty(fault, environ, tmp_path) as worker:
        assert await worker.exit_code() == 1
        (line,) = (line for line in worker.log.splitlines() if "background_task_ended" in line and task in line)
        assert "critical" in line
    assert not (tmp_path / "heartbeat").exists()


async def test_a_process_that_ends_for_a_failed_task_settles_the_batch_in_hand_and_counts_it(
    environ: dict[str, str], rate: Rate, states: States, settled_by_verdict: States, tmp_path: Path
) -> None:
    await rate(5)
    async with faulty("listen_ends_while_a_batch_is_in_flight", environ, tmp_path) as worker:
        assert await worker.exit_code() == 1
        assert "background_task_ended" in worker.log
        assert "wakeup" in worker.log
    assert await states() == {"confirmed": 5}
    assert await settled_by_verdict() == {"applied": 5}


async def test_a_loop_that_hangs_is_visible_in_the_metrics_and_ends_the_process(
    environ: dict[str, str], owner: object, tmp_path: Path
) -> None:
    metrics = Address.free()
    seen = [0.0]

    async def age_has_been_seen() -> bool:
        async with httpx.AsyncClient() as client:
            try:
                scraped = (await client.get(f"http://127.0.0.1:{metrics.port}/metrics")).text
            except httpx.TransportError:
                return False
        seen.extend(
            float(line.split()[1])
            for line in scraped.splitlines()
            if line.startswith("scoreline_heartbeat_age_seconds ")
        )
        return max(seen) > 5

    async with faulty("loop_hangs", environ | {"ARQ_WORKER_METRICS_PORT": str(metrics.port)}, tmp_path) as worker:
        await eventually(lambda: "worker_started" in worker.log, within=90)
        await eventually(age_has_been_seen, within=60)
        assert await worker.exit_code() == 1
        assert "Timeout" in worker.log
        assert faulty_worker.HANGS_FROM_ITS_LOOP in worker.log


async def health(environ: dict[str, str]) -> int:
    process = await asyncio.create_subprocess_exec(COMMAND, "health", env=environ)
    return await process.wait()


async def test_health_is_that_of_one_process_and_not_of_any(
    worker_url: str, valkey: Valkey, line_provider: FaultyLineProvider, owner: object, tmp_path: Path
) -> None:
    def with_file(name: str) -> dict[str, str]:
        return environment(worker_url, valkey.url, line_provider.address, heartbeat_file=tmp_path / name)

    async def frozen_is_reported() -> bool:
        return await health(with_file("frozen")) == 1

    assert await health(with_file("frozen")) == 1
    async with worker(with_file("frozen")) as frozen, worker(with_file("healthy")):
        await eventually(lambda: (tmp_path / "frozen").exists() and (tmp_path / "healthy").exists(), within=90)
        assert await health(with_file("frozen")) == 0
        frozen.send_signal(signal.SIGSTOP)
        await eventually(frozen_is_reported, within=60)
        assert await health(with_file("healthy")) == 0
        frozen.send_signal(signal.SIGCONT)


@pytest.mark.parametrize("file", ["missing/heartbeat", "."])
async def test_a_heartbeat_file_that_cannot_be_written_is_one_line_that_names_the_setting(
    file: str, environ: dict[str, str], tmp_path: Path
) -> None:
    path = tmp_path / file
    process = await asyncio.create_subprocess_exec(
        COMMAND, "run", env=environ | {"ARQ_WORKER_HEARTBEAT_FILE": str(path)}, stderr=PIPE
    )
    _, errors = await process.communicate()
    assert process.returncode == 2
    reason = os.strerror(21 if path.is_dir() else 2)
    assert errors.decode().splitlines() == [f"ARQ_WORKER_HEARTBEAT_FILE: cannot write {path}: {reason}"]
