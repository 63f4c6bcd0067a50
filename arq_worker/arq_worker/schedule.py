"""The schedule of the periodic jobs, by arq: Redis decides which worker runs a job when it is due.

To replace arq, change this module and nothing else. No guarantee relies on arq: the jobs keep their passes from
overlapping by themselves, and while Redis is unreachable the relays go on and the jobs wait.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Never

import arq.connections
import arq.constants
import arq.jobs
import arq.worker
import structlog
from arq import cron
from arq.connections import RedisSettings
from arq.cron import CronJob
from arq.worker import Worker

from arq_worker.periodic import PeriodicJob
from score_maker.saga.health import WORKER_HEARTBEAT_KEY
from score_maker.storage.redis import UNREACHABLE, is_cluster, node_url, owner_of

log = structlog.get_logger(__name__)

# The prefix of all keys of arq. It uses several keys in one transaction, so in a cluster one node must own them all,
# hence the hash tag. The prefixes are constants of arq, which has no setting for them.
QUEUE = "{scoreline}:queue"
for _module in (arq.connections, arq.jobs, arq.worker):
    for _name in ("job_key_prefix", "in_progress_key_prefix", "result_key_prefix", "retry_key_prefix", "abort_jobs_ss"):
        if hasattr(_module, _name):
            setattr(_module, _name, f"{QUEUE}:{getattr(arq.constants, _name).removeprefix('arq:')}")

# How often arq refreshes the key by which score_maker sees that some worker is running.
HEALTH_CHECK_SECONDS = 5
RETRY_SECONDS = 1


async def keep_schedule(redis_url: str, jobs: Sequence[PeriodicJob]) -> Never:
    """Runs the jobs when they are due, until cancelled. Starts arq again whenever it fails, as without Redis."""
    while True:
        try:
            await _run_arq(await _redis_settings(redis_url), jobs)
        except UNREACHABLE as error:
            log.warning("redis_unreachable", error=str(error))
        except Exception:
            log.exception("arq_failed")
        await asyncio.sleep(RETRY_SECONDS)


async def _run_arq(redis_settings: RedisSettings, jobs: Sequence[PeriodicJob]) -> None:
    worker = Worker(
        cron_jobs=[_cron_job(job) for job in jobs],
        redis_settings=redis_settings,
        queue_name=QUEUE,
        health_check_interval=HEALTH_CHECK_SECONDS,
        health_check_key=WORKER_HEARTBEAT_KEY,
        handle_signals=False,
        log_results=False,
    )
    try:
        await worker.async_run()
    finally:
        await _close(worker)


def _cron_job(job: PeriodicJob) -> CronJob:
    async def run(ctx: dict[str, Any]) -> None:  # noqa: ARG001 - as arq calls it
        await job.run()

    return cron(run, name=job.name, second=set(job.seconds), keep_result=0)


async def _close(worker: Worker) -> None:
    try:
        await worker.close()
    except (*UNREACHABLE, asyncio.CancelledError):
        log.debug("arq_not_closed", exc_info=True)


async def _redis_settings(url: str) -> RedisSettings:
    """Returns where arq finds its queue: in a cluster, the node that owns the queue now. Raises one of UNREACHABLE.

    arq does not follow the redirections of a cluster. When the queue moves, a command of arq fails, and `keep_schedule`
    asks again.
    """
    if not is_cluster(url):
        return RedisSettings.from_dsn(url)
    redis_settings = RedisSettings.from_dsn(node_url(url))
    host, port = await owner_of(url, QUEUE, timeout_seconds=redis_settings.conn_timeout)
    return replace(redis_settings, host=host, port=port)
