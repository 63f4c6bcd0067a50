"""The system under torture: the whole system with two workers, and links on the way to line_provider and to
score_maker's database. The link to the database is on the way of score_maker and of the second worker.
"""

import asyncio
import signal
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Never, Self

import asyncpg
import psutil
from sqlalchemy.engine import URL, make_url

from devstack.credentials import Credentials
from devstack.processes import Process, how_it_ended
from devstack.system import MANY_RATERS, System
from tests.torture.events import now
from tests.torture.link import Link

# Short, so that a lease often ends while something is broken.
LEASE_SECONDS = 4.0
RPC_TIMEOUT_SECONDS = 1.5

_RESTART_SECONDS = 0.2
_POLL_SECONDS = 0.02
_CONNECT_SECONDS = 5


@dataclass(slots=True)
class Sample:
    """The memory of each process in MiB, without what it shares with others; and the depth of the outbox."""

    memory: dict[str, float]
    outbox: int


# The signals of which the interpreter and its libraries die when their machine code is at fault.
_CRASHES = frozenset({signal.SIGSEGV, signal.SIGBUS, signal.SIGILL, signal.SIGFPE, signal.SIGABRT})


@dataclass(slots=True)
class Keeper:
    """Restarts a service whenever it ends, unless it is held down. `endings` are those by itself; `crashes` happen in
    machine code that is not ours, and ratings have to survive them as they do a kill -9."""

    process: Process
    endings: list[str] = field(default_factory=list)
    crashes: list[str] = field(default_factory=list)
    _may_run: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self._may_run.set()

    @asynccontextmanager
    async def down(self) -> AsyncIterator[None]:
        """Holds the service down once a fault has ended it. Begins when the service runs."""
        while not self.process.running:
            await asyncio.sleep(_POLL_SECONDS)
        self._may_run.clear()
        try:
            yield
        finally:
            self._may_run.set()

    async def keep(self) -> Never:
        while True:
            status = await self.process.wait()
            if self._may_run.is_set():
                ending = f"{self.process.name} {how_it_ended(status)} by itself"
                (self.crashes if -status in _CRASHES else self.endings).append(f"{now().isoformat()} {ending}")
                await asyncio.sleep(_RESTART_SECONDS)
            await self._may_run.wait()
            if not self.process.running:
                await self.process.spawn()


class Arena:
    """An async context manager. `settings` complement the short leases, for every service at its next start."""

    def __init__(
        self, data: Path, settings: Mapping[str, str] | None = None, say: Callable[[str], None] = print
    ) -> None:
        self._system = System(data, events=None, settings=settings, say=say)
        # The system's own: a change here reaches each service at its next start.
        self.settings = self._system.settings
        self.worker_link = Link(self._system.grpc)
        self.feed_link = Link(self._system.grpc)
        credentials, server = Credentials.of(data / "secrets.json"), self._system.score_maker_postgres
        ours = make_url(
            server.url("score_maker", user="score_maker_app", password=credentials.score_maker_app_password)
        )
        workers = make_url(server.url("score_maker", user="arq_worker", password=credentials.arq_worker_password))
        self.database_link = Link(Path(str(ours.query["host"])) / ".s.PGSQL.5432")
        self.settings |= {
            **MANY_RATERS,
            "SCORE_MAKER_DATABASE_URL": through(self.database_link, ours),
            "ARQ_WORKER_LINE_PROVIDER_ADDRESS": str(self.worker_link.address),
            "SCORE_MAKER_LINE_PROVIDER_ADDRESS": str(self.feed_link.address),
            "ARQ_WORKER_LEASE": str(LEASE_SECONDS),
            "ARQ_WORKER_RPC_TIMEOUT": str(RPC_TIMEOUT_SECONDS),
            # A crash of the interpreter prints where it was.
            "PYTHONFAULTHANDLER": "1",
            # The shortest that the setting allows.
            "ARQ_WORKER_FINALIZE_AFTER": "31",
        }
        second_worker = self._system.another_worker(
            "arq_worker_2", {"ARQ_WORKER_DATABASE_URL": through(self.database_link, workers)}
        )
        self.workers = (self._system.arq_worker, second_worker)
        self.keepers = {
            process.name: Keeper(process) for process in (self.line_provider, self.score_maker, *self.workers)
        }
        self._stack = AsyncExitStack()

    @property
    def system(self) -> System:
        return self._system

    @property
    def line_provider(self) -> Process:
        return self._system.line_provider

    @property
    def score_maker(self) -> Process:
        return self._system.score_maker

    @property
    def processes(self) -> tuple[Process, ...]:
        return (*self._system.processes, self.workers[1])

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(self.worker_link)
            await stack.enter_async_context(self.feed_link)
            await stack.enter_async_context(self.database_link)
            await stack.enter_async_context(self._system)
            await stack.enter_async_context(self.workers[1])
            await stack.enter_async_context(self._kept())
            self._stack = stack.pop_all()
        return self

    async def __aexit__(
        self, error_type: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._stack.aclose()

    async def restart(self, process: Process) -> None:
        """Restarts a service with the present settings. Returns when it is ready; for a worker, when it is started."""
        async with self.keepers[process.name].down():
            await process.stop()
            await (process.spawn() if process in self.workers else process.start())

    def worker_at(self, port: int) -> Process | None:
        """The worker that has a connection from this port; None if it is gone already."""
        for worker in self.workers:
            with suppress(psutil.Error):
                if any(
                    each.laddr.port == port for each in psutil.Process(worker.pid).net_connections("tcp") if each.laddr
                ):
                    return worker
        return None

    async def connect(self, url: str) -> "asyncpg.Connection[Any]":
        """Opens a connection to one of the databases."""
        dsn = make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)
        return await asyncpg.connect(dsn, timeout=_CONNECT_SECONDS, command_timeout=_CONNECT_SECONDS * 6)

    @asynccontextmanager
    async def line_provider_database(self) -> AsyncIterator["asyncpg.Connection[Any]"]:
        connection = await self.connect(self._system.line_provider_database_url)
        try:
            yield connection
        finally:
            connection.terminate()

    @asynccontextmanager
    async def score_maker_database(self) -> AsyncIterator["asyncpg.Connection[Any]"]:
        connection = await self.connect(self._system.score_maker_database_url)
        try:
            yield connection
        finally:
            connection.terminate()

    def measure(self, outbox: int) -> Sample:
        return Sample({process.name: _memory(process) for process in self.processes}, outbox)

    @asynccontextmanager
    async def _kept(self) -> AsyncIterator[None]:
        keeping = [asyncio.create_task(keeper.keep()) for keeper in self.keepers.values()]
        try:
            yield
        finally:
            for task in keeping:
                task.cancel()
            await asyncio.wait(keeping)


def through(link: Link, database: URL) -> str:
    """The URL by which the database is reached through the link."""
    url = database.set(host=link.address.host, port=link.address.port, query={})
    return url.render_as_string(hide_password=False)


def _memory(process: Process) -> float:
    """The memory of the process and its children."""
    total = 0
    with suppress(psutil.Error):
        main = psutil.Process(process.pid)
        for each in (main, *main.children(recursive=True)):
            with suppress(psutil.Error):
                memory = each.memory_info()
                total += memory.rss - getattr(memory, "shared", 0)
    return total / 2**20
