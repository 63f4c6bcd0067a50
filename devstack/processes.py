"""One supervised process: started, watched, stopped, and found again where its supervisor died before it.

Each process leads a session of its own, so that the terminal's Ctrl-C reaches the supervisor alone, and writes to a
file, so that no supervisor, busy or dead, can hold it up. When the supervisor dies without a word, Linux asks the
process to stop; the file with its pid lets the next supervisor make sure of it.
"""

import asyncio
import json
import os
import signal
import sys
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from types import TracebackType
from typing import Self

import psutil

_CHILD = Path(__file__).with_name("child.py")
_POLL_SECONDS = 0.02
_STOP_WITHIN = timedelta(seconds=60)
# By the convention of the services, and of command lines at large: called in a wrong way or set up wrongly.
SETTINGS_ARE_WRONG = 2


class StackError(Exception):
    """What the user has to know, in a sentence."""


class CannotStart(StackError):
    """A process that ended before it was ready."""

    def __init__(self, name: str, status: int, output: str) -> None:
        lines = output.strip().splitlines()
        if status == SETTINGS_ARE_WRONG and lines:
            super().__init__(f"{name} cannot start. {lines[-1]}")
        else:
            super().__init__("\n".join([f"{name} {how_it_ended(status)} before it was ready.", *lines[-20:]]))
        self.status = status


def how_it_ended(status: int) -> str:
    if status < 0:
        return f"was killed by {signal.Signals(-status).name}"
    return f"ended with exit code {status}"


async def ready_at_once() -> bool:
    return True


class Process:
    """A command and its life. Its log and its pid are kept in `state`; it works in `folder`, or else there too.

    The log is that of this object's time; the one of the supervisor before it is kept aside, as .log.1.

    A context manager: entering starts it, leaving stops it. It may be started again after it ended in whatever way,
    and is then asked anew for its environment, which comes on top of the supervisor's.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str | Path],
        *,
        state: Path,
        folder: Path | None = None,
        environment: Callable[[], Mapping[str, str]] = dict,
        user: str = "",
        stop_signal: signal.Signals = signal.SIGTERM,
        is_ready: Callable[[], Awaitable[bool]] = ready_at_once,
        ready_within: timedelta = timedelta(minutes=2),
    ) -> None:
        self.name = name
        self.log = state / f"{name}.log"
        self._pid_file = state / f"{name}.pid"
        self._command = [str(part) for part in command]
        self._folder = (folder or state).resolve()
        self._environment = environment
        self._user = user
        self._stop_signal = stop_signal
        self._is_ready = is_ready
        self._ready_within = ready_within
        self._process: asyncio.subprocess.Process | None = None
        self._log_offset = 0

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, error_type: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.stop()

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.returncode is None

    @property
    def was_started(self) -> bool:
        return self._process is not None

    @property
    def pid(self) -> int:
        """Of the process that runs, or else of the last that ran."""
        return self._started.pid

    async def start(self) -> None:
        """Starts it and waits until it is ready; otherwise nothing is left running.

        Raises CannotStart where it ends before, StackError where it takes too long.
        """
        try:
            await self.spawn()
            async with asyncio.timeout(self._ready_within.total_seconds()):
                await self._until_ready()
        except BaseException as error:
            await self.stop()
            if isinstance(error, TimeoutError):
                raise StackError(f"{self.name} is still not ready; {self.log} may say why.") from None
            raise

    async def spawn(self) -> None:
        """Starts it and lets it come."""
        if self.running:
            raise RuntimeError(f"{self.name} is running")
        self._begin_log()
        with self.log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                # Isolated and without packages: all that it is for takes a few milliseconds.
                *(sys.executable, "-I", "-S", _CHILD, str(os.getpid()), str(self._stop_signal.value), self._user),
                *self._command,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self._folder,
                env=os.environ | {"PYTHONUNBUFFERED": "1"} | dict(self._environment()),
                start_new_session=True,
            )
        leftover = {"pid": self.pid, "folder": str(self._folder), "stop_signal": self._stop_signal.value}
        self._pid_file.write_text(json.dumps(leftover))

    async def run(self) -> str:
        """Lets it run to its end and answers with what it wrote. Raises CannotStart where it fails."""
        try:
            await self.spawn()
            status = await self.wait()
        finally:
            await self.stop()
        if status:
            raise CannotStart(self.name, status, self.output())
        return self.output()

    async def wait(self) -> int:
        """Waits until it ends; answers with its exit code, or the number of the signal that killed it, negated."""
        status = await self._started.wait()
        self._pid_file.unlink(missing_ok=True)
        return status

    async def stop(self) -> None:
        """Asks it to stop and waits for that; one that takes longer than a minute is killed."""
        await self._end_by(self._stop_signal)

    async def kill(self) -> None:
        """Ends it and all its descendants at once, as a crash would."""
        if self.running:
            descendants = _descendants(self.pid)
            self.send_signal(signal.SIGKILL)
            _kill(descendants)
            await self.wait()
            await _all_gone(descendants)

    def send_signal(self, number: signal.Signals) -> None:
        """Sends it a signal, unless it has ended."""
        if self.running:
            self._started.send_signal(number)

    def output(self) -> str:
        """What it has written since it was last started."""
        with self.log.open("rb") as log:
            log.seek(self._log_offset)
            return log.read().decode(errors="replace")

    async def _until_ready(self) -> None:
        # Somebody else may have answered for one that has ended.
        while not await self._is_ready() or not self.running:
            if not self.running:
                raise CannotStart(self.name, await self.wait(), self.output())
            await asyncio.sleep(_POLL_SECONDS)

    async def _end_by(self, number: signal.Signals) -> None:
        if not self.running:
            return
        self.send_signal(number)
        try:
            async with asyncio.timeout(_STOP_WITHIN.total_seconds()):
                await self.wait()
        except TimeoutError:
            await self.kill()

    @property
    def _started(self) -> asyncio.subprocess.Process:
        if self._process is None:
            raise RuntimeError(f"{self.name} was never started")
        return self._process

    def _begin_log(self) -> None:
        if not self.was_started and self.log.exists():
            self.log.replace(self.log.with_suffix(".log.1"))
        self.log.touch()
        self._log_offset = self.log.stat().st_size


async def stop_leftovers(state: Path) -> list[str]:
    """Stops the processes that a supervisor which died without stopping them has left, the newest first.

    Answers with their names. Only for whoever knows that no other supervisor uses the folder.
    """
    names = []
    for pid_file in sorted(state.glob("*.pid"), key=lambda path: path.stat().st_mtime_ns, reverse=True):
        with suppress(ValueError, KeyError):  # the supervisor died while it wrote the file
            leftover = json.loads(pid_file.read_text())
            if process := _find(leftover["pid"], leftover["folder"]):
                await _stop(process, leftover["stop_signal"])
                names.append(pid_file.stem)
        pid_file.unlink()
    return names


def _find(pid: int, folder: str) -> psutil.Process | None:
    """The process, unless its pid has been given to another since: that one works elsewhere."""
    with suppress(psutil.Error):
        process = psutil.Process(pid)
        if Path(process.cwd()) == Path(folder):
            return process
    return None


async def _stop(process: psutil.Process, stop_signal: int) -> None:
    family = [process, *_descendants(process.pid)]
    with suppress(psutil.NoSuchProcess):
        process.send_signal(stop_signal)
    try:
        async with asyncio.timeout(_STOP_WITHIN.total_seconds()):
            await _all_gone(family)
    except TimeoutError:
        _kill(family)
        await _all_gone(family)


def _descendants(pid: int) -> list[psutil.Process]:
    try:
        return psutil.Process(pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return []


def _kill(processes: Iterable[psutil.Process]) -> None:
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.kill()


async def _all_gone(processes: Iterable[psutil.Process]) -> None:
    for process in processes:
        while _is_alive(process):
            await asyncio.sleep(_POLL_SECONDS)


def _is_alive(process: psutil.Process) -> bool:
    # A dead one may stay listed for good where the first process of a container does not collect the dead.
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
