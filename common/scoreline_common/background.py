"""The background tasks of a process, supervised: none of them ends unnoticed.

A task that returns or raises sets `failed` and logs one line that names it. The process waits for `failed` and then
stops with a non-zero exit code, so that its supervisor starts it again: a process that lives on without one of its
tasks looks healthy and serves what is out of date.
"""

import asyncio
from collections.abc import Coroutine
from types import TracebackType
from typing import Any, Self

import structlog

log = structlog.get_logger(__name__)


class BackgroundTasks:
    """Runs background tasks in one task group. An async context manager: leaving it cancels them and waits for them."""

    def __init__(self) -> None:
        self.failed = asyncio.Event()
        self._group = asyncio.TaskGroup()
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._expected_to_end: set[str] = set()
        self._failed_task: str | None = None

    async def __aenter__(self) -> Self:
        await self._group.__aenter__()
        return self

    async def __aexit__(
        self, error_type: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._expected_to_end.update(self._tasks)
        for task in self._tasks.values():
            task.cancel()
        await self._group.__aexit__(error_type, error, traceback)

    @property
    def failed_task(self) -> str | None:
        """The name of the task that ended by itself first; None while all of them run."""
        return self._failed_task

    def start(self, name: str, work: Coroutine[Any, Any, object]) -> None:
        """Starts a task that is to run until the process stops. Names are unique within a process."""
        if name in self._tasks:
            raise ValueError(f"there is a background task {name!r} already")
        task = self._group.create_task(self._supervise(name, work), name=name)
        # A task that is cancelled before its first step has not begun to await the work.
        task.add_done_callback(lambda _: work.close())
        self._tasks[name] = task

    async def finish(self, name: str) -> None:
        """Waits for the end of a task that was told to end."""
        self._expected_to_end.add(name)
        await asyncio.wait({self._tasks[name]})

    async def failed_or(self, stop: asyncio.Event) -> None:
        """Waits until a task has ended by itself or `stop` is set."""
        waits = [asyncio.ensure_future(event.wait()) for event in (self.failed, stop)]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()

    async def _supervise(self, name: str, work: Coroutine[Any, Any, object]) -> None:
        error: BaseException | None = None
        try:
            await work
        except asyncio.CancelledError as cancelled:
            if name in self._expected_to_end:
                raise
            error = cancelled
        except Exception as raised:  # noqa: BLE001 - logged below
            error = raised
        if error is None and name in self._expected_to_end:
            return
        log.critical("background_task_ended", task=name, error=repr(error) if error else "it returned", exc_info=error)
        self._failed_task = self._failed_task or name
        self.failed.set()
