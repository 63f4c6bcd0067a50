"""One composition, supervised: a background task that ends, ends the process with a line that names it."""

import asyncio
import os
import signal
import sys
from pathlib import Path

import pytest
from httpx import AsyncClient

from devstack.addresses import Address
from devstack.processes import Process
from score_maker.settings import Settings
from tests.support.scripted_line_provider import ScriptedLineProvider
from tests.support.serving import serving
from tests.support.waiting import eventually

TASKS = ("event-feed", "event-broadcast", "group-commit", "settlement-waiters", "throughput")

# Runs `score-maker serve` with one background task that fails as soon as the file is there.
_SABOTAGED = """
import asyncio, pathlib, sys
from scoreline_common.background import BackgroundTasks
from score_maker import cli

name, file = sys.argv.pop(1), pathlib.Path(sys.argv.pop(1))
start = BackgroundTasks.start

def start_sabotaged(self, task, work):
    async def fails():
        running = asyncio.ensure_future(work)
        while not file.exists():
            await asyncio.sleep(0.05)
        running.cancel()
        raise LookupError("sabotaged")
    start(self, task, fails() if task == name else work)

BackgroundTasks.start = start_sabotaged
cli.main()
"""


async def answers_200(address: Address, path: str) -> bool:
    async with AsyncClient(base_url=f"http://{address}") as client:
        try:
            return (await client.get(path)).status_code == 200
        except OSError:
            return False
        except Exception as error:
            if type(error).__module__.startswith("httpx"):
                return False
            raise


@pytest.fixture
def environment(settings: Settings) -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name.startswith("SCORE_MAKER_")}


@pytest.mark.parametrize("task", TASKS)
async def test_a_background_task_that_ends_ends_the_process_with_a_line_that_names_it(
    task: str, environment: dict[str, str], line_provider: ScriptedLineProvider, tmp_path: Path
) -> None:
    address, fail = Address.free(), tmp_path / "fail"
    process = Process(
        "sabotaged",
        [sys.executable, "-c", _SABOTAGED, task, str(fail), "serve"],
        state=tmp_path,
        environment=lambda: {**environment, "SCORE_MAKER_PORT": str(address.port)},
        is_ready=lambda: answers_200(address, "/readyz"),
    )
    await process.start()
    fail.touch()
    async with asyncio.timeout(30):
        status = await process.wait()
    assert status == 1
    (line,) = (line for line in process.output().splitlines() if "background_task_ended" in line)
    assert f"task={task}" in line
    assert "sabotaged" in line


async def test_a_process_whose_task_has_ended_is_not_ready(
    settings: Settings, line_provider: ScriptedLineProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(self: object) -> None:
        raise LookupError("sabotaged")

    # Keeps the server from ending the process, so that the answer can be read.
    monkeypatch.setattr("score_maker.http.server.server.Server.has_failed", False)
    monkeypatch.setattr("score_maker.events.broadcast.EventBroadcast.run", fail)
    async with serving(settings) as api:

        async def is_not_ready() -> bool:
            return (await api.get("/readyz")).status_code == 503

        await eventually(is_not_ready)
        readiness = (await api.get("/readyz")).json()
        assert (readiness["status"], readiness["database"], readiness["ended_task"]) == (
            "not ready",
            "ok",
            "event-broadcast",
        )
        assert (await api.get("/healthz")).status_code == 200


async def test_an_orderly_stop_blames_no_task(
    environment: dict[str, str], line_provider: ScriptedLineProvider, tmp_path: Path
) -> None:
    address = Address.free()
    process = Process(
        "orderly",
        [Path(sys.executable).with_name("score-maker"), "serve"],
        state=tmp_path,
        environment=lambda: {**environment, "SCORE_MAKER_PORT": str(address.port)},
        is_ready=lambda: answers_200(address, "/readyz"),
    )
    await process.start()
    process.send_signal(signal.SIGTERM)
    async with asyncio.timeout(30):
        # uvicorn passes the signal on once it has shut down.
        assert await process.wait() in {0, -signal.SIGTERM}
    assert "background_task_ended" not in process.output()
