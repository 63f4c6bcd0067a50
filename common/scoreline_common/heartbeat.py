"""A heartbeat of the event loop: it shows that a process still does its work, and ends the process that does not.

A process can be alive for its supervisor, and answer from other threads, while its event loop is stuck. So each process
beats from its loop, once a second. A loop that has not run for HUNG_AFTER_SECONDS ends the process with exit code 1 and
the stacks of all threads on standard error, which name the line that hangs; the supervisor then starts it again. The
timer is faulthandler's: written in C, it needs no GIL and so also finds a loop that hangs in a regular expression.
"""

import asyncio
import faulthandler
import time
from pathlib import Path
from typing import Never

BEAT_SECONDS = 1
# Far beyond any pause of a healthy loop, even on an overloaded machine.
HUNG_AFTER_SECONDS = 30
# A probe reports the process as hung before the process ends itself.
STALE_AFTER_SECONDS = 10

# By number, since sys.stderr may have been replaced by something that is no file.
_STANDARD_ERROR = 2


class Heartbeat:
    """The heartbeat of this process's event loop; with a file, probes of other processes can see it too."""

    def __init__(self, file: Path | None = None) -> None:
        self._file = file
        self._beat_at = time.monotonic()

    def beat(self) -> None:
        """Call this about every BEAT_SECONDS from the event loop. Raises OSError if the file cannot be written."""
        self._beat_at = time.monotonic()
        faulthandler.dump_traceback_later(HUNG_AFTER_SECONDS, exit=True, file=_STANDARD_ERROR)
        if self._file is not None:
            self._file.touch()

    async def run(self) -> Never:
        """Beats until cancelled."""
        try:
            while True:
                self.beat()
                await asyncio.sleep(BEAT_SECONDS)
        finally:
            self.stop()

    def stop(self) -> None:
        """Ends the watch over the loop, for a process that ends in an orderly way."""
        faulthandler.cancel_dump_traceback_later()
        if self._file is not None:
            self._file.unlink(missing_ok=True)

    def age(self) -> float:
        """Returns the seconds since the last beat; safe to call from any thread."""
        return time.monotonic() - self._beat_at


def is_beating(file: Path) -> bool:
    """Tells whether the process that beats in this file, of this machine, has done so lately."""
    try:
        age = time.time() - file.stat().st_mtime
    except FileNotFoundError:
        return False
    return age < STALE_AFTER_SECONDS
