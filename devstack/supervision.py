"""Restarts the processes that end."""

import asyncio
from collections.abc import Callable, Collection
from datetime import timedelta
from typing import Never

from devstack.processes import SETTINGS_ARE_WRONG, CannotStart, Process, how_it_ended
from devstack.together import together

_FIRST_PAUSE = timedelta(milliseconds=500)
_LONGEST_PAUSE = timedelta(seconds=30)


async def supervise(
    processes: Collection[Process], *, services: Collection[Process], say: Callable[[str], None]
) -> Never:
    """Restarts each of the processes whenever it ends, after a pause that doubles while it keeps ending.

    Raises CannotStart when one of the `services` ends because its settings are wrong: no restart would change that.
    """
    await together(*(_keep_running(process, has_settings=process in services, say=say) for process in processes))
    raise AssertionError("no process is kept running for a limited time")


async def _keep_running(process: Process, *, has_settings: bool, say: Callable[[str], None]) -> Never:
    loop = asyncio.get_running_loop()
    pause = _FIRST_PAUSE
    while True:
        started = loop.time()
        status = await process.wait()
        if status == SETTINGS_ARE_WRONG and has_settings:
            raise CannotStart(process.name, status, process.output())
        if loop.time() - started > _LONGEST_PAUSE.total_seconds():
            pause = _FIRST_PAUSE
        say(f"{process.name} {how_it_ended(status)}; it starts again in {pause.total_seconds():g} s")
        await asyncio.sleep(pause.total_seconds())
        await process.spawn()
        pause = min(pause * 2, _LONGEST_PAUSE)
