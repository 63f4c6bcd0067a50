"""Accepting ratings: the score and its outbox message are written by one statement of one transaction.

So neither can exist without the other, and an answer sent after the commit can never speak of a rating that is lost.
Rows are locked in the order of (event_id, rater_id), here as in settlement, so that batches never deadlock.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ARRAY, BigInteger, Row, any_, bindparam, select, text, tuple_
from sqlalchemy.ext.asyncio import AsyncConnection

from score_maker.domain import Refusal, Score, State
from score_maker.tables import scores


@dataclass(frozen=True, slots=True)
class Submission:
    """A rating (1 to 5) or, with no value, a withdrawal. `deadline` is None where it is not known."""

    event_id: int
    rater_id: UUID
    value: int | None
    deadline: datetime | None
    trace_context: str | None = None


# now() is the start of the transaction: the one moment that is both held against the deadline and recorded.
# The notification is delivered by the commit, once however many rows it speaks of.
_SUBMIT = text("""
    WITH submitted AS (
        SELECT *
        FROM unnest(
            CAST(:event_ids AS bigint[]), CAST(:rater_ids AS uuid[]), CAST(:values AS smallint[]),
            CAST(:deadlines AS timestamptz[]), CAST(:trace_contexts AS text[])
        ) WITH ORDINALITY AS s(event_id, rater_id, value, deadline, trace_context, position)
    ), written AS (
        INSERT INTO scores AS score (event_id, rater_id, value, version, state, accepted_at)
        SELECT event_id, rater_id, value, 1, 'pending', now()
        FROM submitted
        WHERE (deadline IS NULL OR deadline >= now())
          AND NOT EXISTS (SELECT FROM final_results AS final WHERE final.event_id = submitted.event_id)
          AND (value IS NOT NULL OR EXISTS (
              SELECT FROM scores AS standing
              WHERE standing.event_id = submitted.event_id
                AND standing.rater_id = submitted.rater_id
                AND standing.value IS NOT NULL
          ))
        ORDER BY event_id, rater_id
        ON CONFLICT (event_id, rater_id) DO UPDATE
        SET value = excluded.value, version = score.version + 1, state = 'pending', reason = NULL,
            accepted_at = excluded.accepted_at, settled_at = NULL
        RETURNING *
    ), queued AS (
        INSERT INTO scores_outbox (event_id, rater_id, value, version, accepted_at, trace_context)
        SELECT written.event_id, rater_id, written.value, version, accepted_at, trace_context
        FROM written JOIN submitted USING (event_id, rater_id)
    )
    SELECT written.*, coalesce(submitted.deadline < now(), false) AS late, final.event_id IS NOT NULL AS final
    FROM submitted
    LEFT JOIN written USING (event_id, rater_id)
    LEFT JOIN final_results AS final ON final.event_id = submitted.event_id
    CROSS JOIN (SELECT pg_notify('scores_outbox', '')) AS woken
    ORDER BY position
""")


async def submit(connection: AsyncConnection, submissions: Sequence[Submission]) -> list[Score | Refusal]:
    """Accepts ratings and withdrawals, each with its outbox message, and wakes the relay at the commit.

    At most one submission per (event, rater). Answers in the order of the submissions. Nothing holds until the
    caller has committed.
    """
    result = await connection.execute(
        _SUBMIT,
        {
            "event_ids": [submission.event_id for submission in submissions],
            "rater_ids": [submission.rater_id for submission in submissions],
            "values": [submission.value for submission in submissions],
            "deadlines": [submission.deadline for submission in submissions],
            "trace_contexts": [submission.trace_context for submission in submissions],
        },
    )
    return [_outcome(row) for row in result]


def _outcome(row: Row[Any]) -> Score | Refusal:
    if row.version is not None:
        return score_of(row)
    if row.final:
        return Refusal.EVENT_FINAL
    return Refusal.DEADLINE_PASSED if row.late else Refusal.NOTHING_TO_WITHDRAW


def score_of(row: Row[Any]) -> Score:
    """The score that a row with all columns of `scores` holds."""
    return Score(
        event_id=row.event_id,
        rater_id=row.rater_id,
        value=row.value,
        version=row.version,
        state=State(row.state),
        reason=row.reason,
        confirmed_value=row.confirmed_value,
        confirmed_version=row.confirmed_version,
        accepted_at=row.accepted_at,
        settled_at=row.settled_at,
    )


_GET_EACH = text("""
    SELECT scores.*
    FROM scores
    JOIN unnest(CAST(:event_ids AS bigint[]), CAST(:rater_ids AS uuid[])) AS wanted(event_id, rater_id)
        USING (event_id, rater_id)
""")


async def get(connection: AsyncConnection, event_id: int, rater_id: UUID) -> Score | None:
    """The rater's score of the event; None where the rater never rated it."""
    query = select(scores).where(scores.c.event_id == event_id, scores.c.rater_id == rater_id)
    row = (await connection.execute(query)).one_or_none()
    return score_of(row) if row else None


async def of_rater_for_events(connection: AsyncConnection, rater_id: UUID, event_ids: Collection[int]) -> list[Score]:
    """The rater's scores of these events, in no order; none of those that the rater never rated."""
    these = any_(bindparam("event_ids", list(event_ids), ARRAY(BigInteger)))
    query = select(scores).where(scores.c.event_id == these, scores.c.rater_id == rater_id)
    return [score_of(row) for row in await connection.execute(query)]


async def get_each(connection: AsyncConnection, keys: Collection[tuple[int, UUID]]) -> dict[tuple[int, UUID], Score]:
    """The scores of these (event, rater); those that there are."""
    parameters = {"event_ids": [event_id for event_id, _ in keys], "rater_ids": [rater_id for _, rater_id in keys]}
    return {(row.event_id, row.rater_id): score_of(row) for row in await connection.execute(_GET_EACH, parameters)}


async def list_of_rater(
    connection: AsyncConnection, rater_id: UUID, *, limit: int, before: tuple[datetime, int] | None = None
) -> list[Score]:
    """The rater's scores, last accepted first; `before` is (accepted_at, event_id) of the last one seen."""
    query = select(scores).where(scores.c.rater_id == rater_id)
    if before is not None:
        query = query.where(tuple_(scores.c.accepted_at, scores.c.event_id) < before)
    query = query.order_by(scores.c.accepted_at.desc(), scores.c.event_id.desc()).limit(limit)
    return [score_of(row) for row in await connection.execute(query)]
