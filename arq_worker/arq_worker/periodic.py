"""The periodic jobs: sweep, reconcile, finalize and erase.

A pass of the last three takes an advisory lock of PostgreSQL first, and is skipped while another pass holds it, so that
passes never overlap, across workers or within one. Whatever schedules the jobs may therefore start them too often.

A pass that fails is logged and repeated at its next time; no job ends the schedule.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta

import structlog
from sqlalchemy.ext.asyncio import AsyncEngine

from arq_worker.finalize import finalize_events
from arq_worker.line_provider_client import LineProviderClient, LineProviderUnavailable
from arq_worker.reconcile import Reconciler
from score_maker.ratings import erasure
from score_maker.storage import locks
from scoreline_common.database import is_unreachable

log = structlog.get_logger(__name__)

# The seconds of each minute at which a pass begins.
SWEEP_SECONDS = frozenset(range(0, 60, 5))
RECONCILE_SECONDS = frozenset(range(2, 60, 10))
FINALIZE_SECONDS = frozenset(range(7, 60, 10))
ERASE_SECONDS = frozenset(range(9, 60, 10))


@dataclass(frozen=True, slots=True)
class PeriodicJob:
    """`run` makes one pass and raises nothing; `seconds` are the seconds of each minute at which it is due."""

    name: str
    seconds: frozenset[int]
    run: Callable[[], Awaitable[None]]


def periodic_jobs(
    *,
    database_url: str,
    engine: AsyncEngine,
    line_provider: LineProviderClient,
    finalize_after: timedelta,
    wake_relays: Callable[[], None],
) -> list[PeriodicJob]:
    """Returns the jobs of one worker."""
    reconciler = Reconciler(engine, line_provider)

    async def sweep() -> None:
        wake_relays()

    async def finalize() -> None:
        await finalize_events(engine, line_provider, after=finalize_after)

    async def erase() -> None:
        if withdrawn := await erasure.finish(engine):
            log.info("erased", withdrawn=withdrawn)

    def exclusive(name: str, seconds: frozenset[int], lock: int, work: Callable[[], Awaitable[object]]) -> PeriodicJob:
        async def make_pass() -> None:
            if not await locks.run_exclusively(database_url, lock, work):
                log.debug("pass_skipped", job=name, reason="another pass is running")

        return PeriodicJob(name, seconds, lambda: log_failure(name, make_pass))

    return [
        PeriodicJob("sweep", SWEEP_SECONDS, sweep),
        exclusive("reconcile", RECONCILE_SECONDS, locks.RECONCILE, reconciler.run),
        exclusive("finalize", FINALIZE_SECONDS, locks.FINALIZE, finalize),
        exclusive("erase", ERASE_SECONDS, locks.ERASE, erase),
    ]


async def log_failure(job: str, work: Callable[[], Awaitable[object]]) -> None:
    """Does work that is repeated anyway, and logs why it failed instead of raising."""
    try:
        await work()
    except LineProviderUnavailable as error:
        log.warning("line_provider_unavailable", job=job, error=str(error))
    except Exception as error:
        if is_unreachable(error):
            log.warning("database_unreachable", job=job, error=str(error))
        else:
            log.exception("job_failed", job=job)
