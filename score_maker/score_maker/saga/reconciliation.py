"""Holding score_maker's records of an event against line_provider's, and bringing them together where they differ.

What line_provider has applied is confirmed here, however that was learnt. What is confirmed here but missing there goes
there once more, through the outbox like any other rating. What line_provider has applied but this database, restored
from a backup, knows nothing of is adopted. Ratings with a message in the outbox are left to it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import func, select, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from score_maker.ratings.accept import score_of
from score_maker.ratings.domain import AppliedVersion, Mending, Score, adopt, mend
from score_maker.saga.settlement import write_settled
from score_maker.storage.tables import final_results, last_reconciliation, scores


@dataclass(frozen=True, slots=True)
class OwnTotals:
    """What is confirmed of one event, and when the last version got its ruling.

    Every ruling moves `last_settled_at`: two equal totals were the same all the time between.
    """

    count: int
    sum: int
    last_settled_at: datetime | None


# The ratings of other events are not even read: while there are messages of them, they are about to change.
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
    """The totals of those of these events of which nothing is undecided, all as of one moment."""
    rows = await connection.execute(_TOTALS, {"event_ids": event_ids})
    return {row.event_id: OwnTotals(row.ratings, row.sum, row.last_settled_at) for row in rows}


async def list_scores(
    connection: AsyncConnection, event_id: int, *, after: UUID | None, until: UUID | None
) -> list[Score]:
    """The event's scores of raters with ids from behind `after` to `until`; None for an end that is open."""
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

# Of these raters nothing was on record. Whoever has said something meanwhile is left to the next pass.
_ADOPT = text("""
    INSERT INTO scores
        (event_id, rater_id, value, version, state, confirmed_value, confirmed_version, accepted_at, settled_at)
    SELECT :event_id, rater_id, value, version, state, value, version, accepted_at, now()
    FROM unnest(
        CAST(:rater_ids AS uuid[]), CAST(:values AS smallint[]), CAST(:versions AS int[]),
        CAST(:states AS text[]), CAST(:accepted_ats AS timestamptz[])
    ) AS adopted(rater_id, value, version, state, accepted_at)
    ORDER BY rater_id
    ON CONFLICT DO NOTHING
""")

_QUEUE = text("""
    INSERT INTO scores_outbox (event_id, rater_id, value, version, accepted_at)
    SELECT :event_id, queued.*
    FROM unnest(
        CAST(:rater_ids AS uuid[]), CAST(:values AS smallint[]), CAST(:versions AS int[]),
        CAST(:accepted_ats AS timestamptz[])
    ) AS queued(rater_id, value, version, accepted_at)
""")


async def mend_scores(
    connection: AsyncConnection, event_id: int, applied: Mapping[UUID, AppliedVersion | None], deadline: datetime
) -> dict[Mending, int]:
    """Brings these raters' scores of the event together with what line_provider has applied of them (None: nothing).

    Answers how many needed what. Nothing holds until the caller has committed.
    """
    rows = (await connection.execute(_LOCK, {"event_id": event_id, "rater_ids": list(applied)})).all()
    by_mending: dict[Mending, list[Score]] = {mending: [] for mending in Mending}
    for row in rows:
        score, mending = mend(score_of(row), applied[row.rater_id], row.transaction_time)
        if mending is not None:
            by_mending[mending].append(score)
    mended = {mending: len(scores) for mending, scores in by_mending.items() if scores}
    said_again = by_mending[Mending.SAID_AGAIN]
    if learnt := by_mending[Mending.CONFIRMED_HERE] + by_mending[Mending.ADOPTED] + said_again:
        await write_settled(connection, learnt)
    await _queue(
        connection,
        event_id,
        [
            # A confirmed version was accepted in time, even if accepted_at speaks of a later one by now.
            *(
                (score.rater_id, score.confirmed_value, score.confirmed_version, min(score.accepted_at, deadline))
                for score in by_mending[Mending.SENT_AGAIN]
            ),
            *((score.rater_id, score.value, score.version, score.accepted_at) for score in said_again),
        ],
    )
    on_record = {row.rater_id for row in rows}
    unknown = {rater_id: version for rater_id, version in applied.items() if version and rater_id not in on_record}
    if adopted := await _adopt(connection, event_id, unknown):
        mended[Mending.ADOPTED] = mended.get(Mending.ADOPTED, 0) + adopted
    return mended


async def _queue(
    connection: AsyncConnection, event_id: int, messages: Sequence[tuple[UUID, int | None, int | None, datetime]]
) -> None:
    if not messages:
        return
    rater_ids, values, versions, accepted_ats = map(list, zip(*sorted(messages), strict=True))
    await connection.execute(
        _QUEUE,
        {
            "event_id": event_id,
            "rater_ids": rater_ids,
            "values": values,
            "versions": versions,
            "accepted_ats": accepted_ats,
        },
    )


async def _adopt(connection: AsyncConnection, event_id: int, applied: Mapping[UUID, AppliedVersion]) -> int:
    """Puts on record what line_provider alone knows of; answers how many."""
    if not applied:
        return 0
    now = await clock(connection)
    scores = [adopt(event_id, rater_id, version, now) for rater_id, version in applied.items()]
    result = await connection.execute(
        _ADOPT,
        {
            "event_id": event_id,
            "rater_ids": [score.rater_id for score in scores],
            "values": [score.value for score in scores],
            "versions": [score.version for score in scores],
            "states": [score.state for score in scores],
            "accepted_ats": [score.accepted_at for score in scores],
        },
    )
    return result.rowcount


async def record_final_result(
    connection: AsyncConnection, event_id: int, *, count: int, total: int, finalized_at: datetime
) -> None:
    """Records what line_provider has made final; from then on no rating of the event is accepted here."""
    statement = insert(final_results).values(
        event_id=event_id, score_count=count, score_sum=total, finalized_at=finalized_at
    )
    await connection.execute(statement.on_conflict_do_nothing())


@dataclass(frozen=True, slots=True)
class Pass:
    """A pass of reconciliation over all events that line_provider has, and those that differed at its end."""

    finished_at: datetime
    age: timedelta
    events: int
    divergent_event_ids: list[int]


async def record_pass(connection: AsyncConnection, *, events: int, divergent_event_ids: Sequence[int]) -> None:
    """Records a pass that ends now, in place of the one before."""
    found = {"finished_at": func.now(), "events": events, "divergent_event_ids": list(divergent_event_ids)}
    statement = insert(last_reconciliation).values(**found)
    await connection.execute(statement.on_conflict_do_update(index_elements=["is_last"], set_=found))


async def last_pass(connection: AsyncConnection) -> Pass | None:
    """The pass that ended last, whatever worker made it; None where none ever did."""
    query = select(
        last_reconciliation.c.finished_at,
        (func.now() - last_reconciliation.c.finished_at).label("age"),
        last_reconciliation.c.events,
        last_reconciliation.c.divergent_event_ids,
    )
    row = (await connection.execute(query)).one_or_none()
    return Pass(*row) if row else None


async def clock(connection: AsyncConnection) -> datetime:
    """The time that ratings are accepted by."""
    now: datetime = (await connection.execute(select(func.now()))).scalar_one()
    return now
