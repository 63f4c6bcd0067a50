"""Restarting processes that end; a few lines of Python stand in for a service."""

import asyncio
import sys
from pathlib import Path

import pytest

from devstack.processes import CannotStart, Process
from devstack.supervision import supervise

PROGRAM = "print('started', flush=True)"
WRONG_SETTINGS = "import sys; print('NAME: is missing.', file=sys.stderr); sys.exit(2)"


async def test_a_process_that_ends_is_restarted_after_a_pause_that_doubles(tmp_path: Path) -> None:
    process = Process("player", [sys.executable, "-c", PROGRAM], state=tmp_path)
    reports: list[str] = []
    await process.spawn()
    supervising = asyncio.create_task(supervise([process], services=[process], say=reports.append))
    while process.log.read_text().count("started") < 3:
        assert not supervising.done()
        await asyncio.sleep(0.05)
    supervising.cancel()
    with pytest.raises(asyncio.CancelledError):
        await supervising
    await process.stop()
    assert reports[:2] == [
        "player ended with exit code 0; it starts again in 0.5 s",
        "player ended with exit code 0; it starts again in 1 s",
    ]


async def test_a_service_with_wrong_settings_ends_the_supervision(tmp_path: Path) -> None:
    other = Process("other", [sys.executable, "-c", "import time; time.sleep(600)"], state=tmp_path)
    service = Process("service", [sys.executable, "-c", WRONG_SETTINGS], state=tmp_path)
    async with other:
        await service.spawn()
        with pytest.raises(CannotStart, match=r"^service cannot start\. NAME: is missing\.$"):
            await supervise([other, service], services=[service], say=lambda _: None)


async def test_another_program_that_ends_with_the_same_code_is_restarted(tmp_path: Path) -> None:
    # Only the services promise that code 2 means wrong settings.
    server = Process("server", [sys.executable, "-c", WRONG_SETTINGS], state=tmp_path)
    reports: list[str] = []
    await server.spawn()
    supervising = asyncio.create_task(supervise([server], services=[], say=reports.append))
    while not reports:
        assert not supervising.done()
        await asyncio.sleep(0.05)
    supervising.cancel()
    with pytest.raises(asyncio.CancelledError):
        await supervising
    await server.stop()
    assert reports == ["server ended with exit code 2; it starts again in 0.5 s"]
