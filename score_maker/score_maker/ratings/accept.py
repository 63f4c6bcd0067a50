"""Accepting submissions: one statement of one transaction writes the score and its outbox message.

So neither exists without the other, and an answer sent after the commit never reports a rating that is lost. The same
statement judges each submission by the score that stands, and writes only over the version that it has judged; if that
has changed meanwhile, the submission is judged again. Rows are locked in the order of (event_id, rater_id), here as in
settlement, so that batches never deadlock.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncConnection

from score_maker.ratings.domain import OtherVersion, Outcome, Refusal, Unchanged
from score_maker.ratings.queries import score_of
from score_maker.storage import channels
from score_maker.storage.arrays import arrays_of, unnest

# A set of versions, written as a PostgreSQL multirange. A score that was never given has version 0.
Versions = str

ANY_VERSION: Versions = "{[1,)}"


def versions(numbers: Iterable[int]) -> Versions:
    """Returns the set of these versions."""
    return "{" + ",".join(f"[{number},{number}]" for number in numbers) + "}"


# Not frozen, for the reason given at Score.
@dataclass(slots=True, kw_only=True)
class Submission:
    """A rating (a number of SCALE) or, with no value, a withdrawal. `deadline` is None if it is not known.

    The score must have one of the versions `if_match` and none of `if_none_match`; None means that it does not matter.
    """

    event_id: int
    rater_id: UUID
    value: int | None
    deadline: datetime | None
    trace_context: str | None = None
    if_match: Versions | None = None
    if_none_match: Versions | None = None


_SUBMISSION = {
    "event_id": "bigint",
    "rater_id": "uuid",
    "value": "smallint",
    "deadline": "timestamptz",
    "trace_context": "text",
    "if_match": "text",
    "if_none_match": "text",
}

# now() is the start of the transaction: the one moment that is both compared with the deadline and recorded.
# Resubmitting the current or pending value changes nothing; resubmitting a rejected value retries it.
# LIMIT 1 makes PostgreSQL look the tables up row by row, so that a group costs the same however long they get:
# PostgreSQL keeps its plan, and a plan made for a short table would scan all of it until somebody analyses it.
# The notification is delivered by the commit, once however many rows it is about.
_SUBMIT = text(f"""
    WITH submitted AS (
        SELECT *
        FROM {unnest(_SUBMISSION, alias="submission")}
    ), judged AS (
        SELECT submitted.*, coalesce(standing.version, 0) AS standing_version,
            CASE
                WHEN erased.rater_id IS NOT NULL THEN 'rater_erased'
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
            END AS outcome
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
        ) AS erased ON true
    ), written AS (
        INSERT INTO scores AS score (event_id, rater_id, value, version, state, accepted_at)
        SELECT event_id, rater_id, value, standing_version + 1, 'pending', now()
        FROM judged
        WHERE outcome = 'accepted'
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
        WHERE outcome IN ('unchanged', 'other_version')
    ), queued AS (
        INSERT INTO scores_outbox (event_id, rater_id, value, version, accepted_at, trace_context)
        SELECT written.event_id, rater_id, written.value, version, accepted_at, trace_context
        FROM written JOIN submitted USING (event_id, rater_id)
    )
    SELECT outcome, shown.*
    FROM judged
    LEFT JOIN shown USING (event_id, rater_id)
    CROSS JOIN (SELECT pg_notify('{channels.OUTBOX}', '')) AS notified
    ORDER BY position
""")  # noqa: S608 - the fragments are our own


async def submit(connection: AsyncConnection, submissions: Sequence[Submission]) -> list[Outcome]:
    """Accepts ratings and withdrawals, each with its outbox message, and wakes the relay at the commit.

    There must be at most one submission for each (event, rater). Returns the outcomes in the order of the submissions.
    Nothing is durable until the caller has committed.
    """
    outcomes = await _submit(connection, submissions)
    # None: the score got another version after the statement began.
    if overtaken := [position for position, outcome in enumerate(outcomes) if outcome is None]:
        again = await submit(connection, [submissions[position] for position in overtaken])
        outcomes_again = dict(zip(overtaken, again, strict=True))
        return [outcome or outcomes_again[position] for position, outcome in enumerate(outcomes)]
    return [outcome for outcome in outcomes if outcome is not None]


async def _submit(connection: AsyncConnection, submissions: Sequence[Submission]) -> list[Outcome | None]:
    rows = await connection.execute(_SUBMIT, arrays_of(_SUBMISSION, submissions))
    return [_outcome_of(row) for row in rows]


def _outcome_of(row: Row[Any]) -> Outcome | None:
    score = score_of(row) if row.version is not None else None
    match row.outcome:
        case "accepted":
            return score
        case "unchanged" if score is not None:
            return Unchanged(score)
        case "other_version":
            return OtherVersion(score)
        case refusal:
            return Refusal(refusal)
