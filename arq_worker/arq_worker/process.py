"""The process: opens what a worker needs, and runs its background tasks under supervision.

Commits wake the relays, whatever becomes of the periodic jobs: without Redis, ratings are still relayed and settled. A
background task that ends by itself ends the process, so that its supervisor starts it again: a worker without one of
its tasks would look healthy.
"""

import asyncio
import signal
import sys
from collections.abc import Callable
from contextlib import AsyncExitStack
from typing import Never

import structlog
from sqlalchemy.ext.asyncio import AsyncEngine

from arq_worker import metrics
from arq_worker.circuit_breaker import CircuitBreaker
from arq_worker.line_provider_client import LineProviderClient
from arq_worker.periodic import log_failure, periodic_jobs
from arq_worker.relay import Relay
from arq_worker.schedule import keep_schedule
from arq_worker.settings import PREFIX, Settings
from score_maker.saga import outbox
from score_maker.saga.throughput import ThroughputRecorder
from score_maker.storage import channels
from scoreline_common.background import BackgroundTasks
from scoreline_common.database import autocommit, create_engine
from scoreline_common.gc_tuning import freeze_and_relax
from scoreline_common.heartbeat import Heartbeat
from scoreline_common.line_provider_channel import open_channel
from scoreline_common.listen import listen
from scoreline_common.settings import SETTINGS_ARE_WRONG
from scoreline_common.telemetry.metrics import serve as serve_metrics

log = structlog.get_logger(__name__)

MEASURE_SECONDS = 10
# Connections that are used at the same time, besides one for each relay: three periodic jobs, the throughput recorder
# and the measuring of the outbox. LISTEN and the locks of the jobs have connections of their own.
_OTHER_CONNECTIONS = 5


async def run(settings: Settings) -> str | None:
    """Relays until SIGTERM or SIGINT, or until a background task ends by itself; returns the name of that task.

    Either way the relays first finish the batch in hand, which takes at most one RPC timeout.
    """
    heartbeat = Heartbeat(settings.heartbeat_file)
    metrics.HEARTBEAT_AGE.set_function(heartbeat.age)
    serve_metrics("arq-worker", settings)
    database_url = settings.database_url.get_secret_value()
    async with AsyncExitStack() as stack:
        engine = create_engine(database_url, pool_size=settings.relays + _OTHER_CONNECTIONS)
        stack.push_async_callback(engine.dispose)
        line_provider = await stack.enter_async_context(
            LineProviderClient(
                open_channel(settings.line_provider_address, settings.line_provider_credentials()),
                settings.line_provider_token.get_secret_value(),
                settings.rpc_timeout,
            )
        )
        throughput = ThroughputRecorder(engine, metrics.settled)
        # Called after the relays have finished, so that their last batches are counted.
        stack.push_async_callback(throughput.record_if_possible)
        breaker = CircuitBreaker(line_provider.is_serving)
        relays = [
            Relay(engine, line_provider, breaker, batch_size=settings.batch_size, lease=settings.lease)
            for _ in range(settings.relays)
        ]

        def wake_relays() -> None:
            for relay in relays:
                relay.wake()

        jobs = periodic_jobs(
            database_url=database_url,
            engine=engine,
            line_provider=line_provider,
            finalize_after=settings.finalize_after,
            wake_relays=wake_relays,
        )
        _beat_first(heartbeat, settings)
        stack.callback(heartbeat.stop)
        stopping = asyncio.Event()
        _call_on_signal(stopping.set)
        async with BackgroundTasks() as background:
            for number, relay in enumerate(relays, start=1):
                background.start(f"relay-{number}", relay.run())
            background.start(
                "wakeup",
                listen(
                    database_url,
                    channels.OUTBOX,
                    on_notification=lambda _: wake_relays(),
                    on_connected=wake_relays,
                ),
            )
            background.start("schedule", keep_schedule(settings.redis_url.get_secret_value(), jobs))
            background.start("measuring", _keep_measuring(engine))
            background.start("throughput", throughput.run())
            background.start("heartbeat", heartbeat.run())
            freeze_and_relax()
            log.info("worker_started", relays=settings.relays, batch_size=settings.batch_size)
            await background.failed_or(stopping)
    log.info("worker_stopped", failed_task=background.failed_task)
    return background.failed_task


def _beat_first(heartbeat: Heartbeat, settings: Settings) -> None:
    """Beats for the first time; exits with SETTINGS_ARE_WRONG if the file cannot be written."""
    try:
        # A folder can be touched, but not opened.
        with settings.heartbeat_file.open("a"):
            heartbeat.beat()
    except OSError as error:
        reason = f"cannot write {settings.heartbeat_file}: {error.strerror}"
        print(f"{PREFIX}HEARTBEAT_FILE: {reason}", file=sys.stderr)
        raise SystemExit(SETTINGS_ARE_WRONG) from None


async def _keep_measuring(engine: AsyncEngine) -> Never:
    """Publishes how full the outbox is, even while Redis and line_provider are unreachable."""

    async def measure() -> None:
        async with autocommit(engine) as connection:
            overview = await outbox.overview(connection)
        metrics.OUTBOX_MESSAGES.set(overview.messages)
        metrics.OUTBOX_OLDEST_SECONDS.set(overview.oldest_age.total_seconds() if overview.oldest_age else 0)

    while True:
        await log_failure("measuring", measure)
        await asyncio.sleep(MEASURE_SECONDS)


def _call_on_signal(stop: Callable[[], None]) -> None:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop)
