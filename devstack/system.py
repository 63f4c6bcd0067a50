"""The whole system on one data folder: starts the processes in order, and stops them in order."""

import asyncio
import signal
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Never, Self

from devstack import environment
from devstack.addresses import Address
from devstack.environment import MANY_RATERS
from devstack.lock import FolderLock
from devstack.processes import CannotStart, Process, StackError, stop_leftovers
from devstack.readiness import answers_200, serves_grpc
from devstack.supervision import supervise
from devstack.together import together
from devstack.topology import ARQ_WORKER, LINE_PROVIDER, SCORE_MAKER, Topology

__all__ = ["DEMO_EVENTS", "MANY_RATERS", "System"]

DEMO_EVENTS = Path(__file__).parent.parent / "fixtures" / "worldcup-2026.json"


def _say_nothing(sentence: str) -> None:
    pass


class System(Topology):
    """line_provider and score_maker with a PostgreSQL server each, Valkey and arq_worker, which keep all in `data`.

    A context manager: entering starts the system, leaving stops it. A stopped system may be started again, and
    continues with its data. Addresses that are not given are free ports of this machine. `events` is a file that is
    imported while there are no events yet. `say` is called with short sentences that report the progress.

    Each process has a handle with start(), stop(), kill() and running. A process that ends stays down until a caller
    starts it again, or until supervise() does.
    """

    settings: dict[str, str]
    """Environment variables for every service, which override those that the system itself sets. They may be changed at
    any time; a process gets them as they are when it starts."""

    def __init__(
        self,
        data: Path,
        *,
        http: Address | None = None,
        grpc: Address | None = None,
        events: Path | None = DEMO_EVENTS,
        settings: Mapping[str, str] | None = None,
        say: Callable[[str], None] = _say_nothing,
    ) -> None:
        data = data.resolve()
        data.mkdir(mode=0o700, parents=True, exist_ok=True)
        super().__init__(data, http=http or Address.free(), grpc=grpc or Address.free())
        self.settings = dict(settings or {})
        self._events = events
        self._say = say
        self._lock = FolderLock(data)
        self.line_provider = Process(
            LINE_PROVIDER,
            [*_script("line-provider"), "serve"],
            state=data,
            environment=self._line_provider_environment,
            is_ready=self._line_provider_serves,
        )
        self.score_maker = self.another_score_maker(SCORE_MAKER, self.http)
        self.arq_worker = self.another_worker(ARQ_WORKER)

    @property
    def services(self) -> tuple[Process, ...]:
        return (self.line_provider, self.score_maker, self.arq_worker)

    @property
    def processes(self) -> tuple[Process, ...]:
        """All processes, in the order in which they start."""
        return (self.line_provider_postgres, self.score_maker_postgres, self.valkey, *self.services)

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, error_type: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.stop()

    async def start(self) -> None:
        """Starts everything and returns when ratings are accepted. If that fails, leaves nothing running.

        Raises AlreadyRunning when another supervisor uses the folder, and StackError for everything else that the
        user can do something about.
        """
        self._lock.acquire()
        try:
            await self._start()
        except BaseException:
            await self.stop()
            raise

    async def stop(self) -> None:
        """Stops what runs: the services that accept and relay ratings first, the databases last."""
        await together(self.score_maker.stop(), self.arq_worker.stop())
        await self.line_provider.stop()
        await together(self.valkey.stop(), self.line_provider_postgres.stop(), self.score_maker_postgres.stop())
        self._lock.release()

    def kill(self) -> None:
        """Sends SIGKILL to all processes; stop() then waits for their end."""
        for process in self.processes:
            process.send_signal(signal.SIGKILL)

    async def supervise(self) -> Never:
        """Restarts each process that ends, after a pause that doubles while the process keeps ending.

        Raises CannotStart when a service ends because its settings are wrong.
        """
        await supervise(self.processes, services=self.services, say=self._say)

    def another_worker(self, name: str, settings: Mapping[str, str] | None = None) -> Process:
        """An additional arq_worker, which the caller starts and stops. `settings` override those of the system."""
        own = dict(settings or {})

        def worker_environment() -> dict[str, str]:
            return environment.arq_worker(self, name) | self.settings | own

        async def is_ready() -> bool:
            try:
                await self._run(f"{name}-health", *_script("arq-worker"), "health", environment=worker_environment)
            except CannotStart:
                return False
            return True

        return Process(
            name,
            [*_script("arq-worker"), "run"],
            state=self.data,
            environment=worker_environment,
            is_ready=is_ready,
        )

    def another_score_maker(self, name: str, http: Address, settings: Mapping[str, str] | None = None) -> Process:
        """An additional score_maker, which the caller starts and stops. `settings` override those of the system."""
        own = dict(settings or {})

        async def is_ready() -> bool:
            return await asyncio.to_thread(answers_200, http.local, "/readyz")

        return Process(
            name,
            [*_script("score-maker"), "serve"],
            state=self.data,
            environment=lambda: self._score_maker_environment(http) | own,
            is_ready=is_ready,
        )

    async def migrate_line_provider(self) -> None:
        """Migrates line_provider's database to the schema of the installed code, as start() does."""
        await self._run(
            "line_provider-migrate",
            *(*_script("line-provider"), "migrate"),
            environment=lambda: self._line_provider_environment() | environment.line_provider_migration(self),
        )

    async def migrate_score_maker(self) -> None:
        """Migrates score_maker's database to the schema of the installed code, as start() does."""
        await self._run(
            "score_maker-migrate",
            *(*_script("score-maker"), "migrate"),
            environment=lambda: self._score_maker_environment(self.http) | environment.score_maker_migration(self),
        )

    async def _start(self) -> None:
        for name in await stop_leftovers(self.data):
            self._say(f"stopped {name}, which an earlier run had left behind")
        _must_be_free(self.http, f"SCORE_MAKER_PORT={self.http.port + 1}")
        _must_be_free(self.grpc, f"LINE_PROVIDER_LISTEN={self.grpc._replace(port=self.grpc.port + 1)}")
        self.load_credentials()

        self._say("starting PostgreSQL and Valkey …")
        await together(self.line_provider_postgres.start(), self.score_maker_postgres.start(), self.valkey.start())
        self._say("migrating the databases …")
        await together(self._prepare_line_provider(), self._prepare_score_maker())
        self._say("starting line_provider and arq_worker …")
        await together(self._start_line_provider(), self.arq_worker.start())
        # score_maker starts last, so that it has all events when it first answers.
        self._say("starting score_maker …")
        await self.score_maker.start()

    async def _prepare_line_provider(self) -> None:
        await self.create_line_provider_database()
        await self.migrate_line_provider()

    async def _prepare_score_maker(self) -> None:
        await self.create_score_maker_database()
        await self.migrate_score_maker()

    async def _start_line_provider(self) -> None:
        await self.line_provider.start()
        if self._events is not None:
            imported = await self._run(
                "line_provider-import",
                *(*_script("line-provider"), "events", "import", self._events),
                *("--rate-until", "48h", "--shift", "now", "--if-empty"),
                environment=self._line_provider_environment,
            )
            for line in imported.splitlines():
                self._say(line)

    async def _run(self, name: str, *command: str | Path, environment: Callable[[], dict[str, str]]) -> str:
        return await Process(name, command, state=self.data, environment=environment).run()

    def _line_provider_environment(self) -> dict[str, str]:
        return environment.line_provider(self) | self.settings

    def _score_maker_environment(self, http: Address) -> dict[str, str]:
        return environment.score_maker(self, http) | self.settings

    async def _line_provider_serves(self) -> bool:
        # With TLS, line_provider serves its health on another address, without TLS.
        return await serves_grpc(self.settings.get("LINE_PROVIDER_HEALTH_LISTEN", self.grpc_address))


def _script(name: str) -> tuple[Path, Path]:
    # Python is named explicitly, because a script's shebang cannot hold a path with a space.
    return Path(sys.executable), Path(sys.executable).with_name(name)


def _must_be_free(address: Address, alternative: str) -> None:
    if reason := address.bind_error():
        raise StackError(
            f"Port {address.port} of {address.host} cannot be used ({reason}). Choose another: `{alternative} make up`."
        )
