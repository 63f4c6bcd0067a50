"""The process: relays woken by commits, and beside them arq's worker for what is periodic or asked for.

The relays do not rest on arq: while Redis is away they go on, and arq is started again when it is back.
Whoever replaces arq changes this module and nothing else.
"""

import asyncio
import signal
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Never

import arq.connections
import arq.constants
import arq.jobs
import arq.worker
import structlog
from arq import cron
from arq.connections import RedisSettings
from arq.worker import Worker, async_check_health, func
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine

from arq_worker import metrics
from arq_worker.circuit_breaker import CircuitBreaker
from arq_worker.finalize import finalize_events
from arq_worker.line_provider_client import LineProviderAway, LineProviderClient
from arq_worker.reconcile import Reconciler
from arq_worker.relay import Relay
from arq_worker.settings import Settings
from score_maker.ratings import erasure
from score_maker.saga import outbox
from score_maker.saga.health import WORKER_HEARTBEAT_KEY
from score_maker.saga.outbox import WAKE_CHANNEL
from score_maker.saga.throughput import ThroughputRecorder
from score_maker.storage.redis import UNREACHABLE, is_cluster, node_url, owner_of
from scoreline_common.database import autocommit, create_engine, is_unreachable
from scoreline_common.gc_tuning import freeze_and_relax
from scoreline_common.line_provider_channel import open_channel
from scoreline_common.listen import listen
from scoreline_common.telemetry.metrics import serve as serve_metrics

log = structlog.get_logger(__name__)

# arq names all its keys by these, and uses several of them in one transaction: of a cluster, one node has to have
# them all. They are constants of its own, which it has no setting for.
QUEUE = "{scoreline}:queue"
for _module in (arq.connections, arq.jobs, arq.worker):
    for _name in ("job_key_prefix", "in_progress_key_prefix", "result_key_prefix", "retry_key_prefix", "abort_jobs_ss"):
        if hasattr(_module, _name):
            setattr(_module, _name, f"{QUEUE}:{getattr(arq.constants, _name).removeprefix('arq:')}")
SWEEP_SECONDS = frozenset(range(0, 60, 5))
RECONCILE_SECONDS = frozenset(range(2, 60, 10))
FINALIZE_SECONDS = frozenset(range(7, 60, 10))
FORGET_SECONDS = frozenset(range(9, 60, 10))
HEALTH_CHECK_SECONDS = 5
REDIS_RETRY_SECONDS = 1
MEASURE_SECONDS = 10


@dataclass(frozen=True, slots=True)
class _Background:
    """What arq's jobs work with."""

    settings: Settings
    engine: AsyncEngine
    line_provider: LineProviderClient
    relays: Sequence[Relay]
    reconciler: Reconciler

    def wake_relays(self) -> None:
        for relay in self.relays:
            relay.wake()


async def relay_outbox(ctx: dict[str, Any]) -> None:
    """The arq job: has this worker's relays look at the outbox now."""
    background: _Background = ctx["background"]
    background.wake_relays()


async def reconcile(ctx: dict[str, Any]) -> None:
    """The arq job: one pass of reconciliation."""
    background: _Background = ctx["background"]
    await _unless_away(background.reconciler.run)


async def finalize(ctx: dict[str, Any]) -> None:
    """The arq job: makes final what can be."""
    background: _Background = ctx["background"]

    async def finalize_due() -> None:
        after = background.settings.finalize_after
        await finalize_events(background.engine, background.line_provider, after=after)

    await _unless_away(finalize_due)


async def forget(ctx: dict[str, Any]) -> None:
    """The arq job: withdraws what is left of raters who asked to be forgotten."""
    background: _Background = ctx["background"]

    async def finish() -> None:
        if withdrawn := await erasure.finish(background.engine):
            log.info("forgotten", withdrawn=withdrawn)

    await _unless_away(finish)


async def _unless_away(work: Callable[[], Awaitable[object]]) -> None:
    """Does periodic work, which comes again, unless whom it needs is away."""
    try:
        await work()
    except LineProviderAway as error:
        log.warning("line_provider_away", error=str(error))
    except (SQLAlchemyError, OSError, TimeoutError) as error:
        if not is_unreachable(error):
            raise
        log.warning("database_unreachable", error=str(error))


async def run(settings: Settings) -> None:
    """Relays until SIGTERM or SIGINT; then finishes the batches in hand, which takes one RPC timeout at most."""
    serve_metrics("arq-worker", settings)
    database_url = settings.database_url.get_secret_value()
    # A relay, a periodic job, the recorder and the measuring each use one connection at a time.
    engine = create_engine(database_url, pool_size=settings.relays + 4)
    async with LineProviderClient(
        open_channel(settings.line_provider_address, settings.line_provider_credentials()),
        settings.line_provider_token.get_secret_value(),
        settings.rpc_timeout,
    ) as line_provider:
        breaker = CircuitBreaker(line_provider.is_serving)
        relays = [
            Relay(engine, line_provider, breaker, batch_size=settings.batch_size, lease=settings.lease)
            for _ in range(settings.relays)
        ]
        background = _Background(settings, engine, line_provider, relays, Reconciler(engine, line_provider))
        try:
            async with ThroughputRecorder(engine, metrics.settled), asyncio.TaskGroup() as group:
                tasks = [
                    *(group.create_task(relay.run(), name="relay") for relay in relays),
                    group.create_task(
                        listen(
                            database_url,
                            WAKE_CHANNEL,
                            on_notification=lambda _: background.wake_relays(),
                            on_connected=background.wake_relays,
                        ),
                        name="wakeup",
                    ),
                    group.create_task(_run_arq(settings, background), name="arq"),
                    group.create_task(_keep_measuring(engine), name="measuring"),
                ]
                _cancel_on_signal(tasks)
                freeze_and_relax()
                log.info("worker_started", relays=settings.relays, batch_size=settings.batch_size)
        finally:
            await engine.dispose()
    log.info("worker_stopped")


async def _keep_measuring(engine: AsyncEngine) -> Never:
    """Tells how full the outbox is, whoever else is away."""

    async def measure() -> None:
        async with autocommit(engine) as connection:
            overview = await outbox.overview(connection)
        metrics.OUTBOX_MESSAGES.set(overview.messages)
        metrics.OUTBOX_OLDEST_SECONDS.set(overview.oldest_age.total_seconds() if overview.oldest_age else 0)

    while True:
        await _unless_away(measure)
        await asyncio.sleep(MEASURE_SECONDS)


def _cancel_on_signal(tasks: Sequence[asyncio.Task[Never]]) -> None:
    def cancel() -> None:
        for task in tasks:
            task.cancel()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, cancel)


async def _run_arq(settings: Settings, background: _Background) -> Never:
    while True:
        try:
            redis_settings = await _redis_settings(settings)
        except UNREACHABLE as error:
            log.warning("redis_unreachable", error=str(error))
            await asyncio.sleep(REDIS_RETRY_SECONDS)
            continue
        worker = Worker(
            functions=[func(relay_outbox, keep_result=0)],
            cron_jobs=[
                cron(relay_outbox, name="sweep", second=set(SWEEP_SECONDS), keep_result=0),
                cron(reconcile, name="reconcile", second=set(RECONCILE_SECONDS), keep_result=0),
                cron(finalize, name="finalize", second=set(FINALIZE_SECONDS), keep_result=0),
                cron(forget, name="forget", second=set(FORGET_SECONDS), keep_result=0),
            ],
            redis_settings=redis_settings,
            queue_name=QUEUE,
            health_check_interval=HEALTH_CHECK_SECONDS,
            health_check_key=WORKER_HEARTBEAT_KEY,
            handle_signals=False,
            log_results=False,
            ctx={"background": background},
        )
        try:
            await worker.async_run()
        except UNREACHABLE as error:
            log.warning("redis_unreachable", error=str(error))
        finally:
            await _close(worker)
        await asyncio.sleep(REDIS_RETRY_SECONDS)


async def _close(worker: Worker) -> None:
    try:
        await worker.close()
    except (*UNREACHABLE, asyncio.CancelledError):
        log.debug("arq_not_closed", exc_info=True)


async def is_healthy(settings: Settings) -> bool:
    """Whether some worker has reported to Redis within the last health check interval."""
    try:
        redis_settings = await _redis_settings(settings)
    except UNREACHABLE:
        return False
    return await async_check_health(redis_settings, WORKER_HEARTBEAT_KEY) == 0


async def _redis_settings(settings: Settings) -> RedisSettings:
    """Where arq finds its queue: of a cluster, the node that has it now.

    arq does not follow a cluster's redirections. Where the queue moves, its command fails, and this is asked again.
    """
    url = settings.redis_url.get_secret_value()
    if not is_cluster(url):
        return RedisSettings.from_dsn(url)
    redis_settings = RedisSettings.from_dsn(node_url(url))
    host, port = await owner_of(url, QUEUE, timeout_seconds=redis_settings.conn_timeout)
    return replace(redis_settings, host=host, port=port)
