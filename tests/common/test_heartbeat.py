"""A process whose event loop hangs is seen from outside, and ends itself."""

import asyncio
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from scoreline_common import heartbeat
from scoreline_common.heartbeat import Heartbeat, is_beating

# Beats, and then hangs in the way that is given.
_HANGS = """
import asyncio, re, sys, time
from scoreline_common import heartbeat

heartbeat.HUNG_AFTER_SECONDS = 1

async def main():
    beating = asyncio.create_task(heartbeat.Heartbeat().run())
    await asyncio.sleep(0.1)
    print("hangs now", flush=True)
    {hang}

asyncio.run(main())
"""


@pytest.mark.parametrize(
    "hang",
    [
        "time.sleep(60)",
        # Holds the GIL, so no Python thread could notice it.
        're.fullmatch("(a+)+b", "a" * 40)',
    ],
)
def test_a_loop_that_hangs_ends_its_process_and_names_the_line(hang: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", _HANGS.format(hang=hang)], check=False, capture_output=True, text=True, timeout=50
    )
    assert (done.returncode, done.stdout) == (1, "hangs now\n")
    assert "Timeout (0:00:01)!" in done.stderr
    assert "in main" in done.stderr


def test_a_loop_that_beats_lives_longer_than_one_that_hangs_may() -> None:
    lives = _HANGS.format(hang='await asyncio.sleep(2.5); print("lives")')
    lives = lives.replace("heartbeat.HUNG_AFTER_SECONDS = 1", "heartbeat.HUNG_AFTER_SECONDS = 2")
    done = subprocess.run([sys.executable, "-c", lives], check=False, capture_output=True, text=True, timeout=50)
    assert (done.returncode, done.stdout) == (0, "hangs now\nlives\n"), done.stderr


async def test_a_file_shows_other_processes_that_this_one_beats(tmp_path: Path) -> None:
    file = tmp_path / "heartbeat"
    assert not is_beating(file)
    beating = asyncio.create_task(Heartbeat(file).run())
    await asyncio.sleep(0.01)
    assert is_beating(file)
    long_ago = time.time() - heartbeat.STALE_AFTER_SECONDS - 1
    os.utime(file, (long_ago, long_ago))
    assert not is_beating(file)
    beating.cancel()
    await asyncio.wait({beating})
    assert not file.exists()


async def test_the_age_grows_until_the_next_beat(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr("scoreline_common.heartbeat.time.monotonic", lambda: now)
    pulse = Heartbeat()
    now = 107.0
    assert pulse.age() == 7
    pulse.beat()
    pulse.stop()
    assert pulse.age() == 0
