"""Accepting ratings: the score and its outbox message are written by one statement of one transaction.

So neither can exist without the other, and an answer sent after the commit can never speak of a rating that is lost.
The same statement judges each submission by the score that stands, and writes only over the version that it has
judged; where that has changed meanwhile, it is judged again. Rows are locked in the order of (event_id, rater_id),
here as in settlement, so that batches never deadlock.
"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ARRAY, BigInteger, Row, ScalarSelect, any_, bindparam, exists, select, text, tuple_
from sqlalchemy.ext.asyncio import AsyncConnection

from score_maker.ratings.domain import OtherVersion, Outcome, Refusal, Score, State, Unchanged
from score_maker.storage.tables import forgotten_raters, scores

# A set of versions, as PostgreSQL writes a multirange. A score that was never given is of version 0.
Versions = str

ANY_VERSION: Versions = "{[1,)}"


def versions(numbers: Iterable[int]) -> Versions:
    """The set of these."""
    return "{" + ",".join(f"[{number},{number}]" for number in numbers) + "}"


@dataclass(frozen=True, slots=True)
class Submission:
    """A rating (1 to 5) or, with no value, a withdrawal. `deadline` is None where it is not known.

    `if_match` and `if_none_match` are the versions that the score must and must not have, if it matters.
    """

    event_id: int
    rater_id: UUID
    value: int | None
    deadline: datetime | None
    trace_context: str | None = None
    if_match: Versions | None = None
    if_none_match: Versions | None = None


# now() is the start of the transaction: the one moment that is both held against the deadline and recorded.
# To say again what stands, or is on its way to, changes nothing; to say again what was rejected asks again.
# The limits have the tables looked up row by row, so that a group costs the same however long they get: PostgreSQL
# keeps its plan, and one made for a short table would read all of it until somebody analyses it.
# The notification is delivered by the commit, once however many rows it speaks of.
_SUBMIT = text("""
    WITH submitted AS (
        SELECT *
        FROM unnest(
            CAST(:event_ids AS bigint[]), CAST(:rater_ids AS uuid[]), CAST(:values AS smallint[]),
            CAST(:deadlines AS timestamptz[]), CAST(:trace_contexts AS text[]),
            CAST(:if_matches AS text[]), CAST(:if_none_matches AS text[])
        ) WITH ORDINALITY AS s(
            event_id, rater_id, value, deadline, trace_context, if_match, if_none_match, position
        )
    ), judged AS (
        SELECT submitted.*, coalesce(standing.version, 0) AS standing_version,
            CASE
                WHEN forgotten.rater_id IS NOT NULL THEN 'rater_forgotten'
                WHEN final.event_id IS NOT NULL THEN 'event_final'
                WHEN deadline < now() THEN 'deadline_passed'
                WHEN standing.version IS NULL AND submitted.value IS NULL THEN 'nothing_to_withdraw'
                WHEN NOT CAST(if_match AS int8multirange) @> coalesce(standing.version, 0)::bigint
                    OR CAST(if_none_match AS int8multirange) @> coalesce(standing.version, 0)::bigint
                    THEN 'other_version'
                WHEN submitted.value = standing.value AND standing.state <> 'rejected'
                    OR submitted.value IS NULL AND standing.value IS NULL
                    THEN 'unchanged'
                ELSE 'accepted'
            END AS ruling
        FROM submitted
        LEFT JOIN LATERAL (
            SELECT value, version, state FROM scores
            WHERE event_id = submitted.event_id AND rater_id = submitted.rater_id LIMIT 1
        ) AS standing ON true
        LEFT JOIN LATERAL (
            SELECT event_id FROM final_results WHERE event_id = submitted.event_id LIMIT 1
        ) AS final ON true
        LEFT JOIN LATERAL (
            SELECT rater_id FROM forgotten_raters WHERE rater_id = submitted.rater_id LIMIT 1
        ) AS forgotten ON true
    ), written AS (
        INSERT INTO scores AS score (event_id, rater_id, value, version, state, accepted_at)
        SELECT event_id, rater_id, value, standing_version + 1, 'pending', now()
        FROM judged
        WHERE ruling = 'accepted'
        ORDER BY event_id, rater_id
        ON CONFLICT (event_id, rater_id) DO UPDATE
        SET value = excluded.value, version = excluded.version, state = 'pending', reason = NULL,
            accepted_at = excluded.accepted_at, settled_at = NULL
        WHERE score.version = excluded.version - 1
        RETURNING *
    ), shown AS (
        SELECT * FROM written
        UNION ALL
        SELECT standing.*
        FROM judged
        CROSS JOIN LATERAL (
            SELECT * FROM scores WHERE event_id = judged.event_id AND rater_id = judged.rater_id LIMIT 1
        ) AS standing
        WHERE ruling IN ('unchanged', 'other_version')
    ), queued AS (
        INSERT INTO scores_outbox (event_id, rater_id, value, version, accepted_at, trace_context)
        SELECT written.event_id, rater_id, written.value, version, accepted_at, trace_context
        FROM written JOIN submitted USING (event_id, rater_id)
    )
    SELECT ruling, shown.*
    FROM judged
    LEFT JOIN shown USING (event_id, rater_id)
    CROSS JOIN (SELECT pg_notify('scores_outbox', '')) AS woken
    ORDER BY position
""")


async def submit(connection: AsyncConnection, submissions: Sequence[Submission]) -> list[Outcome]:
    """Accepts ratings and withdrawals, each with its outbox message, and wakes the relay at the commit.

    At most one submission per (event, rater). Answers in the order of the submissions. Nothing holds until the
    caller has committed.
    """
    outcomes = await _submit(connection, submissions)
    # The score has got another version since the statement began.
    if overtaken := [position for position, outcome in enumerate(outcomes) if outcome is None]:
        again = await submit(connection, [submissions[position] for position in overtaken])
        outcomes_again = dict(zip(overtaken, again, strict=True))
        return [outcome or outcomes_again[position] for position, outcome in enumerate(outcomes)]
    return [outcome for outcome in outcomes if outcome is not None]


async def _submit(connection: AsyncConnection, submissions: Sequence[Submission]) -> list[Outcome | None]:
    rows = await connection.execute(
        _SUBMIT,
        {
            "event_ids": [submission.event_id for submission in submissions],
            "rater_ids": [submission.rater_id for submission in submissions],
            "values": [submission.value for submission in submissions],
            "deadlines": [submission.deadline for submission in submissions],
            "trace_contexts": [submission.trace_context for submission in submissions],
            "if_matches": [submission.if_match for submission in submissions],
            "if_none_matches": [submission.if_none_match for submission in submissions],
        },
    )
    return [_outcome(row) for row in rows]


def _outcome(row: Row[Any]) -> Outcome | None:
    score = score_of(row) if row.version is not None else None
    match row.ruling:
        case "accepted":
            return score
        case "unchanged" if score is not None:
            return Unchanged(score)
        case "other_version":
            return OtherVersion(score)
        case ruling:
            return Refusal(ruling)


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
    SELECT found.*
    FROM unnest(CAST(:event_ids AS bigint[]), CAST(:rater_ids AS uuid[])) AS wanted(event_id, rater_id)
    CROSS JOIN LATERAL (
        SELECT * FROM scores WHERE event_id = wanted.event_id AND rater_id = wanted.rater_id LIMIT 1
    ) AS found
""")


# Whose scores are read: a rater's id, or a query for it.
RaterId = UUID | ScalarSelect[UUID]

# Whoever reads scores for their rater reads only these.
_IS_REMEMBERED = ~exists().where(forgotten_raters.c.rater_id == scores.c.rater_id)


async def get(connection: AsyncConnection, event_id: int, rater_id: RaterId) -> Score | None:
    """The rater's score of the event; None where the rater never rated it, or was forgotten."""
    query = select(scores).where(scores.c.event_id == event_id, scores.c.rater_id == rater_id, _IS_REMEMBERED)
    row = (await connection.execute(query)).one_or_none()
    return score_of(row) if row else None


async def of_rater_for_events(
    connection: AsyncConnection, rater_id: RaterId, event_ids: Collection[int]
) -> list[Score]:
    """The rater's scores of these events, in no order; for a rater who was forgotten there are none."""
    these = any_(bindparam("event_ids", list(event_ids), ARRAY(BigInteger)))
    query = select(scores).where(scores.c.event_id == these, scores.c.rater_id == rater_id, _IS_REMEMBERED)
    return [score_of(row) for row in await connection.execute(query)]


async def get_each(connection: AsyncConnection, keys: Collection[tuple[int, UUID]]) -> dict[tuple[int, UUID], Score]:
    """The scores of these (event, rater); those that there are."""
    parameters = {"event_ids": [event_id for event_id, _ in keys], "rater_ids": [rater_id for _, rater_id in keys]}
    return {(row.event_id, row.rater_id): score_of(row) for row in await connection.execute(_GET_EACH, parameters)}


async def list_of_rater(
    connection: AsyncConnection, rater_id: RaterId, *, limit: int, before: tuple[datetime, int] | None = None
) -> list[Score]:
    """The rater's scores, last accepted first; `before` is (accepted_at, event_id) of the last one seen."""
    query = select(scores).where(scores.c.rater_id == rater_id, _IS_REMEMBERED)
    if before is not None:
        query = query.where(tuple_(scores.c.accepted_at, scores.c.event_id) < before)
    query = query.order_by(scores.c.accepted_at.desc(), scores.c.event_id.desc()).limit(limit)
    return [score_of(row) for row in await connection.execute(query)]
