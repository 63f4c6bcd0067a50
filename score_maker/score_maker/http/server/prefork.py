"""Several server processes on one listening socket (SCORE_MAKER_WORKERS): starts, supervises and stops them.

They share only the stores, as services on several machines do. A connection goes to the process that accepts it first;
one that arrives while a process ends is accepted by another. If the parent dies, in whatever way, its pipe to the
workers closes, and they stop.
"""

import asyncio
import os
import signal
import socket
import sys
import tempfile
from asyncio.subprocess import Process
from collections.abc import Callable
from contextlib import suppress

import structlog
from prometheus_client import multiprocess

from score_maker.http.metrics import METRICS_FOLDER
from scoreline_common.settings import SETTINGS_ARE_WRONG

log = structlog.get_logger(__name__)

RESTART_SECONDS = 1.0


def serve(count: int, listening: socket.socket) -> int:
    """Runs this many workers until SIGTERM or SIGINT, then stops them gracefully; returns the exit code."""
    with tempfile.TemporaryDirectory(prefix="score-maker-metrics-") as folder:
        return asyncio.run(_Workers(count, listening, folder).run())


def until_parent_ends(alive: int, stop: Callable[[], None]) -> None:
    """Calls `stop` when the other end of the pipe closes. Needs a running event loop."""
    asyncio.get_running_loop().add_reader(alive, _on_end, alive, stop)


def _on_end(alive: int, stop: Callable[[], None]) -> None:
    asyncio.get_running_loop().remove_reader(alive)
    stop()


class _Workers:
    def __init__(self, count: int, listening: socket.socket, metrics_folder: str) -> None:
        self._count = count
        self._listening = listening
        self._metrics_folder = metrics_folder
        self._running: set[Process] = set()
        self._stopping = asyncio.Event()
        self._alive, self._still_alive = os.pipe()

    async def run(self) -> int:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stopping.set)
        async with asyncio.TaskGroup() as group:
            kept = [group.create_task(self._keep_one()) for _ in range(self._count)]
            await self._stopping.wait()
            for process in self._running:
                process.send_signal(signal.SIGTERM)
        return max(task.result() for task in kept)

    async def _keep_one(self) -> int:
        """Runs a worker, and another one whenever it ends by itself; returns the exit code for the parent."""
        while not self._stopping.is_set():
            process = await self._start()
            status = await process.wait()
            self._running.discard(process)
            multiprocess.mark_process_dead(process.pid, self._metrics_folder)  # type: ignore[no-untyped-call]
            if status == SETTINGS_ARE_WRONG:
                self._stopping.set()
                return status
            if not self._stopping.is_set():
                log.error("worker_ended", pid=process.pid, status=status)
            with suppress(TimeoutError):
                async with asyncio.timeout(RESTART_SECONDS):
                    await self._stopping.wait()
        return 0

    async def _start(self) -> Process:
        command = (sys.executable, "-m", "score_maker", "worker", str(self._listening.fileno()), str(self._alive))
        process = await asyncio.create_subprocess_exec(
            *command,
            pass_fds=(self._listening.fileno(), self._alive),
            env=os.environ | {METRICS_FOLDER: self._metrics_folder},
            # The parent handles Ctrl-C in the terminal.
            start_new_session=True,
        )
        self._running.add(process)
        if self._stopping.is_set():
            process.send_signal(signal.SIGTERM)
        return process
