"""Recent throughput of the saga: every process counts what it does and adds it to a small table once a second.

So no ratings are scanned, and the figures cost the same with ten million of them. A process that is killed loses the
counts of its last second: the figures show how the system is doing, and nothing depends on them.
"""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Never

import structlog
from sqlalchemy import bindparam, text
from sqlalchemy.dialects.postgresql import INTERVAL
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from scoreline_common.database import autocommit, is_unreachable

log = structlog.get_logger(__name__)

RECORD_SECONDS = 1
TIMEOUT_SECONDS = 5
KEPT = timedelta(hours=1)
PRUNE_SECONDS = 60

ACCEPTED = "accepted"

# ACCEPTED or one of domain.Verdict, and the reason if it is a rejection, else an empty string.
Outcome = tuple[str, str]

_ADD = text("""
    INSERT INTO throughput (slot, outcome, reason, ratings)
    SELECT date_bin('5 seconds', now(), 'epoch'), outcome, reason, ratings
    FROM unnest(CAST(:outcomes AS text[]), CAST(:reasons AS text[]), CAST(:ratings AS bigint[]))
        AS counted(outcome, reason, ratings)
    ORDER BY outcome, reason
    ON CONFLICT (slot, outcome, reason) DO UPDATE SET ratings = throughput.ratings + excluded.ratings
""")

_PRUNE = text("DELETE FROM throughput WHERE slot < now() - :kept").bindparams(bindparam("kept", type_=INTERVAL))


def accepted_total(submissions: int) -> dict[Outcome, int]:
    """Returns the totals of a process that accepts submissions."""
    return {(ACCEPTED, ""): submissions}


class ThroughputRecorder:
    """Records each second by how much `totals` has grown: this process's submissions by outcome, which never falls.

    `run` never returns.
    """

    def __init__(self, engine: AsyncEngine, totals: Callable[[], Mapping[Outcome, int]]) -> None:
        self._engine = engine
        self._totals = totals
        self._recorded: Mapping[Outcome, int] = {}
        self._prune_at = 0.0

    async def run(self) -> Never:
        while True:
            await asyncio.sleep(RECORD_SECONDS)
            await self.record_if_possible()

    async def record_if_possible(self) -> None:
        """Does what `record` does; what cannot be recorded now is recorded the next time."""
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(TIMEOUT_SECONDS):
                await self.record()
                if loop.time() >= self._prune_at:
                    await self._prune()
                    self._prune_at = loop.time() + PRUNE_SECONDS
        except (SQLAlchemyError, OSError, TimeoutError) as error:
            if is_unreachable(error):
                log.debug("throughput_unrecorded", error=str(error))
            else:
                log.exception("throughput_unrecorded")

    async def record(self) -> None:
        """Records what was counted since the last call."""
        totals = dict(self._totals())
        grown = {outcome: total - self._recorded.get(outcome, 0) for outcome, total in totals.items()}
        rows = [(outcome, reason, ratings) for (outcome, reason), ratings in grown.items() if ratings]
        if not rows:
            return
        outcomes, reasons, ratings = zip(*rows, strict=True)
        async with autocommit(self._engine) as connection:
            await connection.execute(
                _ADD, {"outcomes": list(outcomes), "reasons": list(reasons), "ratings": list(ratings)}
            )
        self._recorded = totals

    async def _prune(self) -> None:
        async with autocommit(self._engine) as connection:
            await connection.execute(_PRUNE, {"kept": KEPT})


@dataclass(frozen=True, slots=True)
class Count:
    """Ratings of one outcome."""

    outcome: str
    reason: str | None
    last_minute: int
    last_hour: int


@dataclass(frozen=True, slots=True)
class Throughput:
    """The counts of all processes together; `minute` is the exact length of the "last minute", about 60 s."""

    counts: list[Count]
    minute: timedelta

    @property
    def accepted_per_second(self) -> float:
        return self._per_second(lambda count: count.outcome == ACCEPTED)

    @property
    def settled_per_second(self) -> float:
        return self._per_second(lambda count: count.outcome != ACCEPTED)

    @property
    def verdicts(self) -> list[Count]:
        return [count for count in self.counts if count.outcome != ACCEPTED]

    def _per_second(self, is_counted: Callable[[Count], bool]) -> float:
        return sum(count.last_minute for count in self.counts if is_counted(count)) / self.minute.total_seconds()


_READ = text("""
    SELECT outcome, nullif(reason, '') AS reason,
        coalesce(sum(ratings) FILTER (WHERE slot >= minute.start), 0)::bigint AS last_minute,
        coalesce(sum(ratings), 0)::bigint AS last_hour,
        now() - minute.start AS minute
    FROM (SELECT date_bin('5 seconds', now() - interval '1 minute', 'epoch') AS start) AS minute
    LEFT JOIN throughput ON slot >= now() - :kept
    GROUP BY outcome, reason, minute.start
    ORDER BY outcome, reason NULLS FIRST
""").bindparams(bindparam("kept", type_=INTERVAL))


async def read(connection: AsyncConnection) -> Throughput:
    """Returns the throughput of the last minute and the last hour."""
    rows = (await connection.execute(_READ, {"kept": KEPT})).all()
    counts = [Count(*row[:4]) for row in rows if row.outcome is not None]
    return Throughput(counts, rows[0].minute)
