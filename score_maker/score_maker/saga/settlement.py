"""Settling the saga: a verdict of line_provider ends an outbox message and decides its score, in one transaction.

Only a message that still carries the claim's lease token is settled, and its row is deleted by the same transaction
that changes the score; so each message is settled once, by whoever held it last. What a verdict does to a score is
`domain.settle`; this module only brings the two together.
"""

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from score_maker.ratings.accept import score_of
from score_maker.ratings.domain import Ruling, Score, Verdict, settle
from score_maker.saga.outbox import OutboxMessage


class Decision(NamedTuple):
    """line_provider's verdict on one message; `reason` is set where it was rejected."""

    message: OutboxMessage
    verdict: Verdict
    reason: str | None = None


# The channel on which a commit that settled scores says so.
SETTLED_CHANNEL = "scores_settled"

_TAKE = text("""
    DELETE FROM scores_outbox AS message
    USING unnest(CAST(:event_ids AS bigint[]), CAST(:ids AS bigint[])) AS decided(event_id, id)
    WHERE message.event_id = decided.event_id AND message.id = decided.id
      AND message.lease_token = :lease_token
    RETURNING message.id, now() AS settled_at
""")

# Here and below scores are looked up one by one, as in scores.py and for its reason.
_LOCK = text("""
    SELECT locked.*
    FROM (
        SELECT *
        FROM unnest(CAST(:event_ids AS bigint[]), CAST(:rater_ids AS uuid[])) AS d(event_id, rater_id)
        ORDER BY event_id, rater_id
    ) AS decided
    CROSS JOIN LATERAL (
        SELECT * FROM scores WHERE event_id = decided.event_id AND rater_id = decided.rater_id FOR UPDATE
    ) AS locked
""")

_WRITE = text("""
    WITH settled AS (
        SELECT s.*, locked.place
        FROM unnest(
            CAST(:event_ids AS bigint[]), CAST(:rater_ids AS uuid[]), CAST(:values AS smallint[]),
            CAST(:versions AS int[]), CAST(:states AS text[]), CAST(:reasons AS text[]),
            CAST(:confirmed_values AS smallint[]), CAST(:confirmed_versions AS int[]),
            CAST(:accepted_ats AS timestamptz[]), CAST(:settled_ats AS timestamptz[])
        ) AS s(
            event_id, rater_id, value, version, state, reason, confirmed_value, confirmed_version, accepted_at,
            settled_at
        )
        CROSS JOIN LATERAL (
            SELECT ctid AS place FROM scores WHERE event_id = s.event_id AND rater_id = s.rater_id LIMIT 1
        ) AS locked
    ), written AS (
        UPDATE scores
        SET value = settled.value, version = settled.version, state = settled.state, reason = settled.reason,
            confirmed_value = settled.confirmed_value, confirmed_version = settled.confirmed_version,
            accepted_at = settled.accepted_at, settled_at = settled.settled_at
        FROM settled
        WHERE scores.ctid = settled.place AND scores.event_id = settled.event_id
    )
    SELECT pg_notify('scores_settled', '')
""")


async def settle_decisions(
    connection: AsyncConnection, lease_token: UUID, decisions: Sequence[Decision]
) -> list[Decision]:
    """Ends the messages that the lease still holds, and answers with their decisions.

    Nothing holds until the caller has committed. Decisions on messages that were lost to another worker are left
    out: that worker learns the same verdict, because line_provider repeats itself.
    """
    taken = await connection.execute(
        _TAKE,
        {
            "event_ids": [decision.message.event_id for decision in decisions],
            "ids": [decision.message.id for decision in decisions],
            "lease_token": lease_token,
        },
    )
    settled_at_by_id: dict[int, datetime] = dict(taken.all())
    mine = [decision for decision in decisions if decision.message.id in settled_at_by_id]
    if not mine:
        return []
    now = settled_at_by_id[mine[0].message.id]
    rulings_by_score: dict[tuple[int, UUID], list[Ruling]] = {}
    for message, verdict, reason in mine:
        ruling = Ruling(message.version, message.value, verdict, reason)
        rulings_by_score.setdefault((message.event_id, message.rater_id), []).append(ruling)
    settled = []
    for score in await _lock(connection, rulings_by_score):
        for ruling in rulings_by_score[score.event_id, score.rater_id]:
            score = settle(score, ruling, now)  # noqa: PLW2901 - a fold over the rulings
        settled.append(score)
    await write_settled(connection, settled)
    return mine


async def _lock(connection: AsyncConnection, keys: Collection[tuple[int, UUID]]) -> list[Score]:
    rows = await connection.execute(
        _LOCK, {"event_ids": [event_id for event_id, _ in keys], "rater_ids": [rater_id for _, rater_id in keys]}
    )
    return [score_of(row) for row in rows]


async def write_settled(connection: AsyncConnection, scores: Sequence[Score]) -> None:
    """Writes what has become of scores that the transaction has locked; the commit tells those who wait."""
    await connection.execute(
        _WRITE,
        {
            "event_ids": [score.event_id for score in scores],
            "rater_ids": [score.rater_id for score in scores],
            "values": [score.value for score in scores],
            "versions": [score.version for score in scores],
            "states": [score.state for score in scores],
            "reasons": [score.reason for score in scores],
            "confirmed_values": [score.confirmed_value for score in scores],
            "confirmed_versions": [score.confirmed_version for score in scores],
            "accepted_ats": [score.accepted_at for score in scores],
            "settled_ats": [score.settled_at for score in scores],
        },
    )
