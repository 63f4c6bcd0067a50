"""The process: the gRPC server, and the background tasks that feed its watches and follow the database."""

import asyncio
import signal
from collections.abc import Collection
from decimal import Decimal
from ipaddress import ip_address
from typing import Never

import grpc
import structlog
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection  # type: ignore[import-untyped]
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine

from line_provider.events.watch import EventWatch
from line_provider.grpc_server import metrics
from line_provider.grpc_server.behaviours import EVENT_SERVICE, SCORE_SERVICE
from line_provider.grpc_server.event_service import EventService
from line_provider.grpc_server.interceptors import Authentication, ErrorStatuses
from line_provider.grpc_server.observation import Observation
from line_provider.grpc_server.score_service import ScoreService
from line_provider.grpc_server.tls import server_credentials
from line_provider.scores.apply import refresh_statuses
from line_provider.settings import Settings
from scoreline.line_provider.v1 import events_pb2_grpc, scores_pb2_grpc
from scoreline_common.background import BackgroundTasks
from scoreline_common.database import autocommit, create_engine
from scoreline_common.heartbeat import Heartbeat
from scoreline_common.telemetry.metrics import serve as serve_metrics

log = structlog.get_logger(__name__)

HEALTH_CHECK_SECONDS = 1
HEALTH_CHECK_TIMEOUT_SECONDS = 5

_OPTIONS = (
    # A port on which another process listens is reported as taken, not shared with it.
    ("grpc.so_reuseport", 0),
    # Clients may ping the connection every few seconds, even without calls.
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.min_ping_interval_without_data_ms", 5_000),
    ("grpc.http2.min_recv_ping_interval_without_data_ms", 5_000),
    # A watcher that vanished without closing its connection is detected within a minute.
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 10_000),
)


class AddressTaken(Exception):
    """The address to listen on is in use, or does not belong to this machine."""


class BackgroundTaskFailed(Exception):
    """A background task ended by itself, so that the server had to stop; the log has the reason."""


class LineProviderServer:
    """The server on one database. Call `listen`, then `run`."""

    def __init__(
        self,
        engine: AsyncEngine,
        *,
        admin_tokens: Collection[str],
        worker_tokens: Collection[str],
        high_score_from: Decimal,
    ) -> None:
        self._engine = engine
        self._high_score_from = high_score_from
        self._watch = EventWatch(engine)
        self._health = health.aio.HealthServicer()
        self._server = grpc.aio.server(
            interceptors=[
                Observation(),
                Authentication(admin_tokens=admin_tokens, worker_tokens=worker_tokens),
                ErrorStatuses(),
            ],
            options=_OPTIONS,
        )
        events_pb2_grpc.add_EventServiceServicer_to_server(EventService(engine, self._watch), self._server)
        scores_pb2_grpc.add_ScoreServiceServicer_to_server(
            ScoreService(engine, high_score_from=high_score_from), self._server
        )
        self._probes = grpc.aio.server(options=_OPTIONS)
        for server in (self._server, self._probes):
            health_pb2_grpc.add_HealthServicer_to_server(self._health, server)
        reflection.enable_server_reflection(
            (EVENT_SERVICE, SCORE_SERVICE, health.SERVICE_NAME, reflection.SERVICE_NAME), self._server
        )

    def listen(self, address: str, credentials: grpc.ServerCredentials | None = None) -> int:
        """Binds the address, for TLS if there are credentials, and returns its port. Raises AddressTaken."""
        return _listen(self._server, address, credentials)

    def listen_for_probes(self, address: str) -> int:
        """Binds an address that serves health alone, without TLS, and returns its port. Raises AddressTaken."""
        return _listen(self._probes, address, None)

    async def run(self, stop: asyncio.Event, *, grace: float) -> None:
        """Serves until `stop` is set. Watches then end at once, and other calls have `grace` seconds to finish.

        Raises BackgroundTaskFailed if a background task ends by itself. The server stops then as well: it would look
        healthy without that task, and serve what is out of date.
        """
        await self._set_health(serving=False)
        await self._server.start()
        await self._probes.start()
        try:
            async with BackgroundTasks() as background:
                background.start("announcements", self._watch.receive_announcements())
                background.start("published-changes", self._watch.publish_changes())
                background.start("database-health", self._follow_database())
                background.start("heartbeat", Heartbeat().run())
                await background.failed_or(stop)
                await self._health.enter_graceful_shutdown()
        finally:
            await self._server.stop(grace)
            await self._probes.stop(0)
        if background.failed_task is not None:
            raise BackgroundTaskFailed(background.failed_task)

    async def _follow_database(self) -> Never:
        """Reports SERVING while the database answers. When it first does, updates statuses to the threshold."""
        statuses_are_current = False
        serving = None
        while True:
            try:
                if not statuses_are_current:
                    async with self._engine.begin() as connection:
                        await refresh_statuses(connection, high_score_from=self._high_score_from)
                    statuses_are_current = True
                async with asyncio.timeout(HEALTH_CHECK_TIMEOUT_SECONDS), autocommit(self._engine) as connection:
                    await connection.execute(text("SELECT FROM events LIMIT 1"))
                answered, reason = True, ""
            except (SQLAlchemyError, OSError, TimeoutError) as error:
                answered, reason = False, str(error) or type(error).__name__
            if answered is not serving:
                serving = answered
                metrics.DATABASE_ANSWERS.set(serving)
                await self._set_health(serving=serving)
                if serving:
                    log.info("database_reachable")
                else:
                    log.warning("database_unreachable", error=reason)
            await asyncio.sleep(HEALTH_CHECK_SECONDS)

    async def _set_health(self, *, serving: bool) -> None:
        status = health_pb2.HealthCheckResponse.SERVING if serving else health_pb2.HealthCheckResponse.NOT_SERVING
        for service in (health.OVERALL_HEALTH, EVENT_SERVICE, SCORE_SERVICE):
            await self._health.set(service, status)


def _listen(server: grpc.aio.Server, address: str, credentials: grpc.ServerCredentials | None) -> int:
    try:
        if credentials is None:
            return server.add_insecure_port(address)
        return server.add_secure_port(address, credentials)
    except RuntimeError:
        raise AddressTaken(address) from None


def _is_loopback(address: str) -> bool:
    host = address.rpartition(":")[0].strip("[]")
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


async def serve(settings: Settings) -> None:
    """Serves until SIGTERM or SIGINT. Raises AddressTaken and BackgroundTaskFailed."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    engine = create_engine(settings.database_url.get_secret_value())
    serve_metrics("line-provider", settings)
    try:
        server = LineProviderServer(
            engine,
            admin_tokens=[token.get_secret_value() for token in settings.admin_token],
            worker_tokens=[token.get_secret_value() for token in settings.worker_token],
            high_score_from=settings.high_score_from,
        )
        credentials = None
        if settings.tls_certificate is not None and settings.tls_key is not None:
            credentials = server_credentials(settings.tls_certificate, settings.tls_key, settings.tls_client_ca)
        port = server.listen(settings.listen, credentials)
        if settings.health_listen is not None:
            server.listen_for_probes(settings.health_listen)
        if credentials is None and not _is_loopback(settings.listen):
            log.warning("tokens_sent_unencrypted", listen=settings.listen, fix="set LINE_PROVIDER_TLS_CERTIFICATE")
        log.info("server_started", listen=settings.listen, port=port, tls=credentials is not None)
        await server.run(stop, grace=settings.shutdown_grace)
    finally:
        await engine.dispose()
    log.info("server_stopped")
