"""The whole system on one data folder: which processes there are, what they are told, in which order they come and go.

No service knows of this launcher: each gets the settings that its .env_example lists, as it would anywhere.
"""

import asyncio
import http.client
import signal
import sys
from collections.abc import Awaitable, Callable, Mapping
from datetime import timedelta
from pathlib import Path
from types import TracebackType
from typing import Any, Never, Self

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from devstack.addresses import Address
from devstack.credentials import Credentials
from devstack.lock import FolderLock
from devstack.postgres import Postgres
from devstack.processes import SETTINGS_ARE_WRONG, CannotStart, Process, StackError, how_it_ended, stop_leftovers
from devstack.valkey import Valkey

DEMO_EVENTS = Path(__file__).parent.parent / "fixtures" / "worldcup-2026.json"

# In the data folder: what its parts know each other by.
SECRETS = "secrets.json"

# Settings for a system whose many raters are all one program: limits that are counted but never reached.
MANY_RATERS: Mapping[str, str] = {
    "SCORE_MAKER_RATE_LIMIT_RATER": "1000000/minute",
    "SCORE_MAKER_RATE_LIMIT_ADDRESS": "1000000/minute",
}

_LINE_PROVIDER = "line_provider"
_SCORE_MAKER = "score_maker"
_ARQ_WORKER = "arq_worker"
# The roles of the running services, which own nothing.
_LINE_PROVIDER_APP = "line_provider_app"
_SCORE_MAKER_APP = "score_maker_app"

_FIRST_PAUSE = timedelta(milliseconds=500)
_LONGEST_PAUSE = timedelta(seconds=30)
_PROBE_TIMEOUT_SECONDS = 2


def _say_nothing(sentence: str) -> None:
    pass


class System:
    """line_provider and score_maker with a PostgreSQL server each, Valkey and arq_worker; what they keep is in `data`.

    A context manager: entering starts all of it, leaving stops it. One that was stopped may be started again and
    continues with its data. The addresses are free ones of this machine where none are given. With `events`, that
    file is imported where there are no events yet. `settings` are environment variables that every service is given
    on top of what the system itself tells it, each time that it starts. `say` hears about the progress, a short
    sentence at a time.

    Each process has a handle with start(), stop(), kill() and running. What ends stays so until it is started again,
    or until supervise() does that.
    """

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
        self.http = http or Address.free()
        self.grpc = grpc or Address.free()
        self._data = data
        self._events = events
        self._settings = {} if settings is None else settings
        self._say = say
        self._lock = FolderLock(data)
        self._known: Credentials | None = None

        self.line_provider_postgres = Postgres(data / "line_provider_postgres")
        self.score_maker_postgres = Postgres(data / "score_maker_postgres")
        self.valkey = Valkey(data / "valkey")
        self.line_provider = Process(
            _LINE_PROVIDER,
            [*_script("line-provider"), "serve"],
            state=data,
            environment=self._line_provider_settings,
            is_ready=self._line_provider_serves,
        )
        self.score_maker = self.another_score_maker(_SCORE_MAKER, self.http)
        self.arq_worker = self.another_worker(_ARQ_WORKER)

    @property
    def services(self) -> tuple[Process, ...]:
        return (self.line_provider, self.score_maker, self.arq_worker)

    @property
    def processes(self) -> tuple[Process, ...]:
        """All, in the order in which they start."""
        return (self.line_provider_postgres, self.score_maker_postgres, self.valkey, *self.services)

    @property
    def http_url(self) -> str:
        return f"http://{self.http.local}"

    @property
    def grpc_address(self) -> str:
        return str(self.grpc.local)

    @property
    def admin_token(self) -> str:
        """For writes of events over gRPC."""
        return self._credentials.admin_token

    @property
    def worker_token(self) -> str:
        """For ScoreService."""
        return self._credentials.worker_token

    @property
    def operators_token(self) -> str:
        """For score_maker's /ops."""
        return self._credentials.operators_token

    @property
    def line_provider_database_url(self) -> str:
        """With the role that owns it, which migrates it and sees all."""
        password = self._credentials.line_provider_password
        return self.line_provider_postgres.url(_LINE_PROVIDER, user=_LINE_PROVIDER, password=password)

    @property
    def line_provider_app_database_url(self) -> str:
        """With the few rights of the running service."""
        password = self._credentials.line_provider_app_password
        return self.line_provider_postgres.url(_LINE_PROVIDER, user=_LINE_PROVIDER_APP, password=password)

    @property
    def score_maker_database_url(self) -> str:
        """With the role that owns it, which migrates it and sees all."""
        password = self._credentials.score_maker_password
        return self.score_maker_postgres.url(_SCORE_MAKER, user=_SCORE_MAKER, password=password)

    @property
    def score_maker_app_database_url(self) -> str:
        """With the few rights of the running service."""
        password = self._credentials.score_maker_app_password
        return self.score_maker_postgres.url(_SCORE_MAKER, user=_SCORE_MAKER_APP, password=password)

    @property
    def arq_worker_database_url(self) -> str:
        """score_maker's database with the few rights of the worker."""
        password = self._credentials.arq_worker_password
        return self.score_maker_postgres.url(_SCORE_MAKER, user=_ARQ_WORKER, password=password)

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, error_type: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.stop()

    async def start(self) -> None:
        """Starts everything and returns when ratings can be taken; otherwise nothing is left running.

        Raises AlreadyRunning where the folder is in use, and StackError for whatever else the user has to know.
        """
        self._lock.acquire()
        try:
            await self._start()
        except BaseException:
            await self.stop()
            raise

    async def stop(self) -> None:
        """Stops what runs, the takers of ratings first and the databases last."""
        await _together(self.score_maker.stop(), self.arq_worker.stop())
        await self.line_provider.stop()
        await _together(self.valkey.stop(), self.line_provider_postgres.stop(), self.score_maker_postgres.stop())
        self._lock.release()

    def kill(self) -> None:
        """Sends SIGKILL to all processes; stop() then waits for their end."""
        for process in self.processes:
            process.send_signal(signal.SIGKILL)

    def another_worker(self, name: str, settings: Mapping[str, str] | None = None) -> Process:
        """An arq_worker beside the others, with settings of its own on top, for its maker to start and to stop."""
        return Process(
            name,
            [*_script("arq-worker"), "run"],
            state=self._data,
            environment=lambda: self._arq_worker_settings() | dict(settings or {}),
            is_ready=self._arq_worker_reports,
        )

    def another_score_maker(self, name: str, http: Address, settings: Mapping[str, str] | None = None) -> Process:
        """A score_maker beside the others, with settings of its own on top, for its maker to start and to stop."""

        async def is_ready() -> bool:
            return await asyncio.to_thread(_answers_200, http.local, "/readyz")

        return Process(
            name,
            [*_script("score-maker"), "serve"],
            state=self._data,
            environment=lambda: self._score_maker_settings(http) | dict(settings or {}),
            is_ready=is_ready,
        )

    async def migrate_line_provider(self) -> None:
        """Brings the database to the schema of the code that runs, as the start does."""
        settings = {
            "LINE_PROVIDER_DATABASE_URL": self.line_provider_database_url,
            "LINE_PROVIDER_APP_ROLE": _LINE_PROVIDER_APP,
        }
        await self._migrate("line-provider", lambda: self._line_provider_settings() | settings)

    async def migrate_score_maker(self) -> None:
        """The same for the other database."""
        settings = {
            "SCORE_MAKER_DATABASE_URL": self.score_maker_database_url,
            "SCORE_MAKER_APP_ROLE": _SCORE_MAKER_APP,
            "SCORE_MAKER_WORKER_ROLE": _ARQ_WORKER,
        }
        await self._migrate("score-maker", lambda: self._score_maker_settings(self.http) | settings)

    async def supervise(self) -> Never:
        """Starts again whatever ends by itself, later and later while it does not last.

        Raises CannotStart where a service says that its settings are wrong.
        """
        await _together(*(self._keep_running(process) for process in self.processes))
        raise AssertionError("each goes on for ever")

    async def _start(self) -> None:
        for name in await stop_leftovers(self._data):
            self._say(f"stopped {name}, which an earlier run had left behind")
        _must_be_free(self.http, f"SCORE_MAKER_PORT={self.http.port + 1}")
        _must_be_free(self.grpc, f"LINE_PROVIDER_LISTEN={self.grpc._replace(port=self.grpc.port + 1)}")
        self._known = Credentials.of(self._data / SECRETS)

        self._say("starting PostgreSQL and Valkey …")
        await _together(self.line_provider_postgres.start(), self.score_maker_postgres.start(), self.valkey.start())
        self._say("migrating the databases …")
        await _together(self._prepare_line_provider(), self._prepare_score_maker())
        self._say("starting line_provider and arq_worker …")
        await _together(self._start_line_provider(), self.arq_worker.start())
        # Last, so that it knows all events as soon as it answers.
        self._say("starting score_maker …")
        await self.score_maker.start()

    async def _start_line_provider(self) -> None:
        await self.line_provider.start()
        if self._events is not None:
            imported = await self._run(
                "line_provider-import",
                *(*_script("line-provider"), "events", "import", self._events),
                *("--rate-until", "48h", "--shift", "now", "--if-empty"),
                environment=self._line_provider_settings,
            )
            for line in imported.splitlines():
                self._say(line)

    async def _prepare_line_provider(self) -> None:
        credentials, server = self._credentials, self.line_provider_postgres
        await server.create_database(_LINE_PROVIDER, owner=_LINE_PROVIDER, password=credentials.line_provider_password)
        await server.create_role(
            _LINE_PROVIDER_APP, password=credentials.line_provider_app_password, database=_LINE_PROVIDER
        )
        await self.migrate_line_provider()

    async def _prepare_score_maker(self) -> None:
        credentials, server = self._credentials, self.score_maker_postgres
        await server.create_database(_SCORE_MAKER, owner=_SCORE_MAKER, password=credentials.score_maker_password)
        await server.create_role(_SCORE_MAKER_APP, password=credentials.score_maker_app_password, database=_SCORE_MAKER)
        await server.create_role(_ARQ_WORKER, password=credentials.arq_worker_password, database=_SCORE_MAKER)
        await self.migrate_score_maker()

    async def _migrate(self, program: str, environment: Callable[[], dict[str, str]]) -> None:
        await self._run(f"{program.replace('-', '_')}-migrate", *_script(program), "migrate", environment=environment)

    async def _run(self, name: str, *command: str | Path, environment: Callable[[], dict[str, str]]) -> str:
        return await Process(name, command, state=self._data, environment=environment).run()

    async def _keep_running(self, process: Process) -> Never:
        loop = asyncio.get_running_loop()
        pause = _FIRST_PAUSE
        while True:
            started = loop.time()
            status = await process.wait()
            if status == SETTINGS_ARE_WRONG and process in self.services:
                raise CannotStart(process.name, status, process.output())
            if loop.time() - started > _LONGEST_PAUSE.total_seconds():
                pause = _FIRST_PAUSE
            self._say(f"{process.name} {how_it_ended(status)}; it starts again in {pause.total_seconds():g} s")
            await asyncio.sleep(pause.total_seconds())
            await process.spawn()
            pause = min(pause * 2, _LONGEST_PAUSE)

    @property
    def _credentials(self) -> Credentials:
        if self._known is None:
            raise RuntimeError("the system was never started")
        return self._known

    def _line_provider_settings(self) -> dict[str, str]:
        return {
            "LINE_PROVIDER_DATABASE_URL": self.line_provider_app_database_url,
            "LINE_PROVIDER_LISTEN": str(self.grpc),
            "LINE_PROVIDER_ADMIN_TOKEN": self.admin_token,
            "LINE_PROVIDER_WORKER_TOKEN": self.worker_token,
            **self._settings,
        }

    def _score_maker_settings(self, http: Address) -> dict[str, str]:
        return {
            "SCORE_MAKER_DATABASE_URL": self.score_maker_app_database_url,
            "SCORE_MAKER_REDIS_URL": self.valkey.url,
            "SCORE_MAKER_LINE_PROVIDER_ADDRESS": self.grpc_address,
            "SCORE_MAKER_LINE_PROVIDER_TOKEN": self.admin_token,
            "SCORE_MAKER_ADMIN_TOKEN": self.operators_token,
            "SCORE_MAKER_SECRET_KEY": self._credentials.secret_key,
            "SCORE_MAKER_HOST": http.host,
            "SCORE_MAKER_PORT": str(http.port),
            **self._no_proxy(),
            **self._settings,
        }

    def _arq_worker_settings(self) -> dict[str, str]:
        return {
            "ARQ_WORKER_DATABASE_URL": self.arq_worker_database_url,
            "ARQ_WORKER_REDIS_URL": self.valkey.url,
            "ARQ_WORKER_LINE_PROVIDER_ADDRESS": self.grpc_address,
            "ARQ_WORKER_LINE_PROVIDER_TOKEN": self.worker_token,
            **self._no_proxy(),
            **self._settings,
        }

    def _no_proxy(self) -> dict[str, str]:
        # gRPC would ask the user's HTTP proxy even for this machine.
        return {"no_grpc_proxy": self.grpc.local.host}

    async def _line_provider_serves(self) -> bool:
        # Where it speaks TLS, it answers this elsewhere.
        address = self._settings.get("LINE_PROVIDER_HEALTH_LISTEN", self.grpc_address)
        async with grpc.aio.insecure_channel(address, options=[("grpc.enable_http_proxy", 0)]) as channel:
            # Its type stubs leave out the calls.
            health: Any = health_pb2_grpc.HealthStub(channel)
            try:
                answer = await health.Check(health_pb2.HealthCheckRequest(), timeout=_PROBE_TIMEOUT_SECONDS)
            except grpc.aio.AioRpcError:
                return False
        return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)

    async def _arq_worker_reports(self) -> bool:
        try:
            await self._run(
                "arq_worker-health", *_script("arq-worker"), "health", environment=self._arq_worker_settings
            )
        except CannotStart:
            return False
        return True


def _script(name: str) -> tuple[Path, Path]:
    # Given to Python by name: the path of Python in a script's first line does not survive a space.
    return Path(sys.executable), Path(sys.executable).with_name(name)


def _answers_200(address: Address, path: str) -> bool:
    connection = http.client.HTTPConnection(*address, timeout=_PROBE_TIMEOUT_SECONDS)
    try:
        connection.request("GET", path)
        return connection.getresponse().status == http.client.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def _must_be_free(address: Address, alternative: str) -> None:
    if reason := address.why_not_free():
        raise StackError(
            f"Port {address.port} of {address.host} cannot be had ({reason}). Choose another: `{alternative} make up`."
        )


async def _together(*works: Awaitable[None]) -> None:
    """Waits for all; where one fails, the others are cancelled and its error is raised."""
    try:
        async with asyncio.TaskGroup() as group:
            for work in works:
                group.create_task(_await(work))
    except ExceptionGroup as failures:
        raise failures.exceptions[0] from None


async def _await(work: Awaitable[None]) -> None:
    await work
