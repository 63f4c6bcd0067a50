"""The process: relays woken by commits, and beside them arq's worker for what is periodic or asked for.

The relays do not rest on arq: while Redis is away they go on, and arq is started again when it is back.
Whoever replaces arq changes this module and nothing else.
"""

import asyncio
import signal
from collections.abc import Sequence
from typing import Any, Never

import structlog
from arq import cron
from arq.connections import RedisSettings
from arq.worker import Worker, async_check_health, func
from redis.exceptions import RedisError

from arq_worker.line_provider_client import LineProviderClient
from arq_worker.relay import Relay
from arq_worker.settings import Settings
from arq_worker.wakeup import listen
from score_maker.database import create_engine

log = structlog.get_logger(__name__)

# arq's keys share a hash tag, so that a cluster keeps them together.
QUEUE = "{scoreline}:arq"
SWEEP_SECONDS = frozenset(range(0, 60, 5))
HEALTH_CHECK_SECONDS = 5
REDIS_RETRY_SECONDS = 1


async def relay_outbox(ctx: dict[str, Any]) -> None:
    """The arq job: has this worker's relays look at the outbox now."""
    relays: Sequence[Relay] = ctx["relays"]
    for relay in relays:
        relay.wake()


async def run(settings: Settings) -> None:
    """Relays until SIGTERM or SIGINT; then finishes the batches in hand, which takes one RPC timeout at most."""
    database_url = settings.database_url.get_secret_value()
    # A relay uses one connection at a time.
    engine = create_engine(database_url, pool_size=settings.relays)
    async with LineProviderClient(
        settings.line_provider_address, settings.line_provider_token.get_secret_value(), settings.rpc_timeout
    ) as line_provider:
        relays = [
            Relay(engine, line_provider, batch_size=settings.batch_size, lease=settings.lease)
            for _ in range(settings.relays)
        ]

        def wake() -> None:
            for relay in relays:
                relay.wake()

        try:
            async with asyncio.TaskGroup() as group:
                tasks = [
                    *(group.create_task(relay.run(), name="relay") for relay in relays),
                    group.create_task(listen(database_url, wake), name="wakeup"),
                    group.create_task(_run_arq(settings, relays), name="arq"),
                ]
                _cancel_on_signal(tasks)
                log.info("worker_started", relays=settings.relays, batch_size=settings.batch_size)
        finally:
            await engine.dispose()
    log.info("worker_stopped")


def _cancel_on_signal(tasks: Sequence[asyncio.Task[Never]]) -> None:
    def cancel() -> None:
        for task in tasks:
            task.cancel()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, cancel)


async def _run_arq(settings: Settings, relays: Sequence[Relay]) -> Never:
    while True:
        worker = Worker(
            functions=[func(relay_outbox, keep_result=0)],
            cron_jobs=[cron(relay_outbox, name="sweep", second=set(SWEEP_SECONDS), keep_result=0)],
            redis_settings=_redis_settings(settings),
            queue_name=QUEUE,
            health_check_interval=HEALTH_CHECK_SECONDS,
            handle_signals=False,
            log_results=False,
            ctx={"relays": relays},
        )
        try:
            await worker.async_run()
        except (RedisError, OSError, TimeoutError) as error:
            log.warning("redis_unreachable", error=str(error))
        finally:
            await _close(worker)
        await asyncio.sleep(REDIS_RETRY_SECONDS)


async def _close(worker: Worker) -> None:
    try:
        await worker.close()
    except (RedisError, OSError, TimeoutError, asyncio.CancelledError):
        log.debug("arq_not_closed", exc_info=True)


async def is_healthy(settings: Settings) -> bool:
    """Whether some worker has reported to Redis within the last health check interval."""
    return await async_check_health(_redis_settings(settings), queue_name=QUEUE) == 0


def _redis_settings(settings: Settings) -> RedisSettings:
    return RedisSettings.from_dsn(settings.redis_url.get_secret_value())
