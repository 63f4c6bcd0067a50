"""The figures of the saga for its operators, from score_maker's database: outbox, throughput, reconciliation."""

import asyncio
from dataclasses import dataclass
from datetime import datetime

import structlog
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine

from score_maker.saga import outbox, reconciliation, throughput
from score_maker.saga.outbox import Overview
from score_maker.saga.throughput import Throughput
from scoreline_common.database import is_unreachable

log = structlog.get_logger(__name__)

# However many operators watch, and however often they reload, the database is read at most once in this time.
FRESH_SECONDS = 1
TIMEOUT_SECONDS = 5


@dataclass(frozen=True, slots=True)
class SagaFigures:
    """All of them as of one moment of the database's clock."""

    taken_at: datetime
    outbox: Overview
    throughput: Throughput
    last_pass: reconciliation.Pass | None


class SagaMonitor:
    """Reads the figures once for all concurrent callers."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine
        self._reading: asyncio.Task[SagaFigures | None] | None = None
        self._fresh_until = 0.0

    async def figures(self) -> SagaFigures | None:
        """Returns figures that are at most FRESH_SECONDS old; None while the database is unreachable."""
        if self._reading is None or (self._reading.done() and asyncio.get_running_loop().time() >= self._fresh_until):
            self._reading = asyncio.create_task(self._read(), name="saga-monitor")
        return await asyncio.shield(self._reading)

    async def _read(self) -> SagaFigures | None:
        try:
            async with asyncio.timeout(TIMEOUT_SECONDS), self._engine.connect() as connection:
                await connection.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
                figures = SagaFigures(
                    taken_at=await reconciliation.clock(connection),
                    outbox=await outbox.overview(connection),
                    throughput=await throughput.read(connection),
                    last_pass=await reconciliation.last_pass(connection),
                )
        except (SQLAlchemyError, OSError, TimeoutError) as error:
            if not is_unreachable(error):
                raise
            log.warning("database_unreachable", error=repr(error))
            return None
        self._fresh_until = asyncio.get_running_loop().time() + FRESH_SECONDS
        return figures
