"""One supervised process: starts it, watches it, stops it, and finds it again after its supervisor has died.

Each process leads its own session, so that the terminal's Ctrl-C reaches only the supervisor, and writes its output to
a file, so that a busy or dead supervisor cannot block it. When the supervisor is killed, Linux sends the process its
stop signal; a file with the pid lets the next supervisor make sure that it has stopped.
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
# The services exit with this code, as command line tools do for wrong usage, if their settings are wrong.
SETTINGS_ARE_WRONG = 2


class StackError(Exception):
    """An error for the user, whose message is a sentence without a traceback."""


class CannotStart(StackError):
    """A process ended before it was ready. `status` is its exit code, or the negative number of the signal."""

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
    """A command that can be started, stopped and restarted. `state` keeps its log and its pid.

    It runs in `folder`, or in `state` if no folder is given.

    The log begins with the first start by this object; the log of an earlier supervisor is kept as .log.1.

    A context manager: entering starts the process, leaving stops it. It may be started again however it ended. Each
    start calls `environment`, whose variables are added to those of the supervisor.
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
        """The pid of the running process, or of the last one that ran. Raises RuntimeError if none ever ran."""
        return self._started.pid

    async def start(self) -> None:
        """Starts the process and waits until it is ready. If that fails, leaves nothing running.

        Raises CannotStart if it ends before it is ready, StackError if it is not ready in time.
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
        """Starts the process without waiting until it is ready. Raises RuntimeError if it is running."""
        if self.running:
            raise RuntimeError(f"{self.name} is running")
        self._begin_log()
        with self.log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                # Isolated and without site packages, so that this step costs only a few milliseconds.
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
        """Runs the process until it ends, and returns its output. Raises CannotStart unless its exit code is 0."""
        try:
            await self.spawn()
            status = await self.wait()
        finally:
            await self.stop()
        if status:
            raise CannotStart(self.name, status, self.output())
        return self.output()

    async def wait(self) -> int:
        """Waits until the process ends. Returns its exit code, or the negative number of the signal that killed it."""
        status = await self._started.wait()
        self._pid_file.unlink(missing_ok=True)
        return status

    async def stop(self) -> None:
        """Sends the stop signal and waits for the end; kills the process if that takes longer than a minute."""
        await self._end_by(self._stop_signal)

    async def kill(self) -> None:
        """Kills the process and all its descendants at once, as a crash would."""
        if self.running:
            descendants = _descendants(self.pid)
            self.send_signal(signal.SIGKILL)
            _kill(descendants)
            await self.wait()
            await _all_gone(descendants)

    def send_signal(self, number: signal.Signals) -> None:
        """Sends the signal if the process is running."""
        if self.running:
            self._started.send_signal(number)

    def output(self) -> str:
        """Returns what the process has written since its last start."""
        with self.log.open("rb") as log:
            log.seek(self._log_offset)
            return log.read().decode(errors="replace")

    async def _until_ready(self) -> None:
        # The process must still run after the probe: another one may have answered on its address.
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
    """Stops the processes that a dead supervisor has left running, the newest first. Returns their names.

    The caller must hold the folder's lock, because the processes of a living supervisor would be stopped too.
    """
    names = []
    for pid_file in sorted(state.glob("*.pid"), key=lambda path: path.stat().st_mtime_ns, reverse=True):
        # The file is incomplete if the supervisor died while it wrote it.
        with suppress(ValueError, KeyError):
            leftover = json.loads(pid_file.read_text())
            if process := _find(leftover["pid"], leftover["folder"]):
                await _stop(process, leftover["stop_signal"])
                names.append(pid_file.stem)
        pid_file.unlink()
    return names


def _find(pid: int, folder: str) -> psutil.Process | None:
    """Returns the process with that pid, unless the pid has been reused: another process has another working folder."""
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
    # A zombie may stay forever if the init process of a container does not reap it.
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
