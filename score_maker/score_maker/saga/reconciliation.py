"""Comparing score_maker's records of an event with line_provider's, and repairing the scores that differ.

What line_provider has applied becomes confirmed here, however that was learnt. What is confirmed here but missing there
is requeued: it goes through the outbox like any other rating. What line_provider has applied but this database,
restored from a backup, does not have is adopted. Ratings with a message in the outbox are left to the relay.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple
from uuid import UUID

from sqlalchemy import func, select, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from score_maker.ratings.domain import AppliedVersion, Repair, Score, adopt, repair_of
from score_maker.ratings.queries import score_of
from score_maker.saga.settlement import write_settled
from score_maker.storage.arrays import arrays_of, types_of, unnest
from score_maker.storage.tables import final_results, last_reconciliation, scores, scores_outbox


@dataclass(frozen=True, slots=True)
class OwnTotals:
    """What is confirmed of one event, and when the last version was decided.

    Every decision moves `last_settled_at`, so two equal totals prove that nothing changed between them.
    """

    count: int
    sum: int
    last_settled_at: datetime | None


# The ratings of events with messages in the outbox are not even read: they are about to change.
_TOTALS = text("""
    WITH quiet AS MATERIALIZED (
        SELECT event_id
        FROM unnest(CAST(:event_ids AS bigint[])) AS wanted(event_id)
        WHERE NOT EXISTS (SELECT FROM scores_outbox AS message WHERE message.event_id = wanted.event_id)
    )
    SELECT quiet.event_id, decided.*
    FROM quiet
    CROSS JOIN LATERAL (
        SELECT count(confirmed_value) AS ratings, coalesce(sum(confirmed_value), 0)::bigint AS sum,
            max(settled_at) AS last_settled_at
        FROM scores
        WHERE event_id = quiet.event_id
    ) AS decided
""")


async def totals(connection: AsyncConnection, event_ids: Sequence[int]) -> dict[int, OwnTotals]:
    """Returns the totals of those of these events that have nothing undecided, all as of one moment."""
    rows = await connection.execute(_TOTALS, {"event_ids": event_ids})
    return {row.event_id: OwnTotals(row.ratings, row.sum, row.last_settled_at) for row in rows}


async def list_scores(
    connection: AsyncConnection, event_id: int, *, after: UUID | None, until: UUID | None
) -> list[Score]:
    """Returns the event's scores of raters with ids greater than `after`, up to `until`; None for an open end."""
    query = select(scores).where(scores.c.event_id == event_id)
    if after is not None:
        query = query.where(scores.c.rater_id > after)
    if until is not None:
        query = query.where(scores.c.rater_id <= until)
    return [score_of(row) for row in await connection.execute(query)]


_LOCK = text("""
    SELECT scores.*, now() AS transaction_time
    FROM scores
    WHERE event_id = :event_id
      AND rater_id = ANY(CAST(:rater_ids AS uuid[]))
      AND NOT EXISTS (
          SELECT FROM scores_outbox AS message
          WHERE message.event_id = scores.event_id AND message.rater_id = scores.rater_id
      )
    ORDER BY rater_id
    FOR UPDATE OF scores
""")

_SCORE = types_of(scores)

# These raters had no score. If one of them has submitted something meanwhile, the next pass deals with it.
_ADOPT = text(f"""
    INSERT INTO scores ({", ".join(_SCORE)})
    SELECT {", ".join(_SCORE)}
    FROM {unnest(_SCORE, alias="adopted")}
    ORDER BY event_id, rater_id
    ON CONFLICT DO NOTHING
""")  # noqa: S608 - the fragments are our own

_MESSAGE = types_of(scores_outbox, "event_id", "rater_id", "value", "version", "accepted_at")

_QUEUE = text(f"""
    INSERT INTO scores_outbox ({", ".join(_MESSAGE)})
    SELECT {", ".join(_MESSAGE)}
    FROM {unnest(_MESSAGE, alias="message")}
    ORDER BY event_id, rater_id
""")  # noqa: S608 - the fragments are our own


class _Message(NamedTuple):
    event_id: int
    rater_id: UUID
    value: int | None
    version: int | None
    accepted_at: datetime


async def repair_scores(
    connection: AsyncConnection, event_id: int, applied: Mapping[UUID, AppliedVersion | None], deadline: datetime
) -> dict[Repair, int]:
    """Brings these raters' scores of the event into agreement with what line_provider has applied (None: nothing).

    Returns how many scores needed which repair. Nothing is durable until the caller has committed.
    """
    rows = (await connection.execute(_LOCK, {"event_id": event_id, "rater_ids": list(applied)})).all()
    by_repair: dict[Repair, list[Score]] = {repair: [] for repair in Repair}
    for row in rows:
        score, repair = repair_of(score_of(row), applied[row.rater_id], row.transaction_time)
        if repair is not None:
            by_repair[repair].append(score)
    repaired = {repair: len(of_kind) for repair, of_kind in by_repair.items() if of_kind}
    reissued = by_repair[Repair.REISSUED]
    if learnt := by_repair[Repair.CONFIRMED_HERE] + by_repair[Repair.ADOPTED] + reissued:
        await write_settled(connection, learnt)
    await _queue(
        connection,
        [
            # A confirmed version was accepted in time, even if accepted_at is that of a later version by now.
            *(
                _Message(
                    event_id,
                    score.rater_id,
                    score.confirmed_value,
                    score.confirmed_version,
                    min(score.accepted_at, deadline),
                )
                for score in by_repair[Repair.REQUEUED]
            ),
            *(_Message(event_id, score.rater_id, score.value, score.version, score.accepted_at) for score in reissued),
        ],
    )
    on_record = {row.rater_id for row in rows}
    unknown = {rater_id: version for rater_id, version in applied.items() if version and rater_id not in on_record}
    if adopted := await _adopt(connection, event_id, unknown):
        repaired[Repair.ADOPTED] = repaired.get(Repair.ADOPTED, 0) + adopted
    return repaired


async def _queue(connection: AsyncConnection, messages: Sequence[_Message]) -> None:
    if messages:
        await connection.execute(_QUEUE, arrays_of(_MESSAGE, messages))


async def _adopt(connection: AsyncConnection, event_id: int, applied: Mapping[UUID, AppliedVersion]) -> int:
    """Records what only line_provider has; returns how many scores that were."""
    if not applied:
        return 0
    now = await clock(connection)
    adopted = [adopt(event_id, rater_id, version, now) for rater_id, version in applied.items()]
    return (await connection.execute(_ADOPT, arrays_of(_SCORE, adopted))).rowcount


async def record_final_result(
    connection: AsyncConnection, event_id: int, *, count: int, total: int, finalized_at: datetime
) -> None:
    """Records the result that line_provider has made final; from then on no rating of the event is accepted here."""
    statement = insert(final_results).values(
        event_id=event_id, score_count=count, score_sum=total, finalized_at=finalized_at
    )
    await connection.execute(statement.on_conflict_do_nothing())


@dataclass(frozen=True, slots=True)
class Pass:
    """One pass of reconciliation over all events of line_provider, and the events that differed at its end."""

    finished_at: datetime
    age: timedelta
    events: int
    divergent_event_ids: list[int]


async def record_pass(connection: AsyncConnection, *, events: int, divergent_event_ids: Sequence[int]) -> None:
    """Records a pass that ends now; it replaces the one before."""
    found = {"finished_at": func.now(), "events": events, "divergent_event_ids": list(divergent_event_ids)}
    statement = insert(last_reconciliation).values(**found)
    await connection.execute(statement.on_conflict_do_update(index_elements=["is_last"], set_=found))


async def last_pass(connection: AsyncConnection) -> Pass | None:
    """Returns the pass that ended last, of whichever worker; None before the first."""
    query = select(
        last_reconciliation.c.finished_at,
        (func.now() - last_reconciliation.c.finished_at).label("age"),
        last_reconciliation.c.events,
        last_reconciliation.c.divergent_event_ids,
    )
    row = (await connection.execute(query)).one_or_none()
    return Pass(*row) if row else None


async def clock(connection: AsyncConnection) -> datetime:
    """Returns the database's clock, the one by which ratings are accepted."""
    now: datetime = (await connection.execute(select(func.now()))).scalar_one()
    return now
