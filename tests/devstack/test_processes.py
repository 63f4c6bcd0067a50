"""One supervised process; a few lines of Python stand in for a service."""

import asyncio
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from devstack.processes import CannotStart, Process, stop_leftovers

SLEEPER = "import time; time.sleep(600)"
PARENT = f"""
import subprocess, sys
child = subprocess.Popen([sys.executable, "-c", {SLEEPER!r}])
print(child.pid, flush=True)
child.wait()
"""


@pytest.fixture
def python(tmp_path: Path) -> Callable[[str], Process]:
    """Makes a process that runs the given program and is ready once it has written a number."""

    def python(program: str) -> Process:
        async def has_written() -> bool:
            return process.output().strip().isdigit()

        process = Process("player", [sys.executable, "-c", program], state=tmp_path, is_ready=has_written)
        return process

    return python


def is_gone(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


async def test_the_terminals_ctrl_c_does_not_reach_it(python: Callable[[str], Process]) -> None:
    async with python(f"print(1, flush=True); {SLEEPER}") as process:
        assert os.getsid(process.pid) == os.getpgid(process.pid) == process.pid


async def test_the_error_about_an_early_end_has_the_last_output(python: Callable[[str], Process]) -> None:
    with pytest.raises(CannotStart, match=r"(?s)player ended with exit code 1 before it was ready\..*nothing works"):
        await python("import sys; sys.exit('nothing works')").start()


async def test_the_error_about_wrong_settings_is_the_services_own_sentence(python: Callable[[str], Process]) -> None:
    program = "import sys; print('NAME: is missing.', file=sys.stderr); sys.exit(2)"
    with pytest.raises(CannotStart, match=r"^player cannot start\. NAME: is missing\.$"):
        await python(program).start()


async def test_a_command_that_does_not_exist_is_reported(tmp_path: Path) -> None:
    with pytest.raises(CannotStart, match="No such file"):
        await Process("missing", [tmp_path / "missing"], state=tmp_path).run()


async def test_killing_it_kills_its_descendants(python: Callable[[str], Process]) -> None:
    async with python(PARENT) as process:
        child = int(process.output())
        await process.kill()
        assert is_gone(process.pid)
        assert is_gone(child)


async def test_it_can_be_restarted_and_its_output_is_that_of_the_last_run(
    python: Callable[[str], Process],
) -> None:
    async with python(f"import os; print(os.getpid(), flush=True); {SLEEPER}") as process:
        first = process.pid
        assert process.output() == f"{first}\n"
        await process.kill()
        await process.start()
        assert process.pid != first
        assert process.output() == f"{process.pid}\n"
        assert process.log.read_text() == f"{first}\n{process.pid}\n"


async def test_cancelling_its_start_stops_it(tmp_path: Path) -> None:
    async def never() -> bool:
        return False

    process = Process("slow", [sys.executable, "-c", SLEEPER], state=tmp_path, is_ready=never)
    starting = asyncio.create_task(process.start())
    while not process.running:
        await asyncio.sleep(0.01)
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting
    assert not process.running


async def test_the_leftovers_of_a_dead_supervisor_are_found_and_stopped(
    python: Callable[[str], Process], tmp_path: Path
) -> None:
    process = python(f"print(1, flush=True); {SLEEPER}")
    await process.start()
    assert await stop_leftovers(tmp_path) == ["player"]
    assert is_gone(process.pid)
    await process.wait()
    assert await stop_leftovers(tmp_path) == []


async def test_another_process_that_has_the_pid_of_a_leftover_is_not_stopped(
    python: Callable[[str], Process], tmp_path: Path
) -> None:
    somewhere = tmp_path / "somewhere else"
    somewhere.mkdir()
    async with Process("stranger", [sys.executable, "-c", SLEEPER], state=somewhere) as stranger:
        leftover = {"pid": stranger.pid, "folder": str(tmp_path), "stop_signal": 15}
        (tmp_path / "player.pid").write_text(json.dumps(leftover))
        (tmp_path / "unfinished.pid").write_text("{")
        assert await stop_leftovers(tmp_path) == []
        assert stranger.running
    assert list(tmp_path.glob("*.pid")) == []
