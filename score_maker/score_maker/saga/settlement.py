"""Settling the saga: a verdict of line_provider ends an outbox message and decides its score, in one transaction.

Only a message that still carries the claim's lease token is settled, and the transaction that changes the score deletes
it; so each message is settled once, by the last worker that claimed it. What a verdict does to a score is
`domain.settle`; this module brings the two together.
"""

from collections.abc import Collection, Sequence
from typing import NamedTuple
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from score_maker.ratings.domain import Decision, Reason, Score, Verdict, settle
from score_maker.ratings.queries import KEY, score_of
from score_maker.saga import outbox
from score_maker.saga.outbox import OutboxMessage
from score_maker.storage import channels
from score_maker.storage.arrays import arrays_of, types_of, unnest
from score_maker.storage.tables import scores


class DecidedMessage(NamedTuple):
    """line_provider's verdict on one message; `reason` is set if it was rejected."""

    message: OutboxMessage
    verdict: Verdict
    reason: Reason | None = None


# LATERAL makes PostgreSQL look scores up one by one, here and below, for the reason given in accept.py.
_LOCK = text(f"""
    SELECT locked.*
    FROM (SELECT * FROM {unnest(KEY, alias="wanted")} ORDER BY event_id, rater_id) AS wanted
    CROSS JOIN LATERAL (
        SELECT * FROM scores WHERE event_id = wanted.event_id AND rater_id = wanted.rater_id FOR UPDATE
    ) AS locked
""")  # noqa: S608 - the fragments are our own

_SCORE = types_of(scores)

_WRITE = text(f"""
    WITH settled AS (
        SELECT settled.*, locked.place
        FROM {unnest(_SCORE, alias="settled")}
        CROSS JOIN LATERAL (
            SELECT ctid AS place FROM scores WHERE event_id = settled.event_id AND rater_id = settled.rater_id LIMIT 1
        ) AS locked
    ), written AS (
        UPDATE scores
        SET {", ".join(f"{name} = settled.{name}" for name in _SCORE if name not in KEY)}
        FROM settled
        WHERE scores.ctid = settled.place AND scores.event_id = settled.event_id
    )
    SELECT pg_notify('{channels.SETTLED}', '')
""")  # noqa: S608 - the fragments are our own


async def settle_decided(
    connection: AsyncConnection, lease_token: UUID, decided: Sequence[DecidedMessage]
) -> list[DecidedMessage]:
    """Ends the messages that the lease still holds and settles their scores; returns those messages.

    Nothing is durable until the caller has committed. Messages that another worker has claimed since are left out:
    that worker gets the same verdict, because line_provider repeats it.
    """
    settled_at_by_id = await outbox.take(connection, lease_token, [each.message for each in decided])
    mine = [each for each in decided if each.message.id in settled_at_by_id]
    if not mine:
        return []
    now = settled_at_by_id[mine[0].message.id]
    decisions_by_score: dict[tuple[int, UUID], list[Decision]] = {}
    for message, verdict, reason in mine:
        decision = Decision(message.version, message.value, verdict, reason)
        decisions_by_score.setdefault((message.event_id, message.rater_id), []).append(decision)
    settled = []
    for score in await _lock(connection, decisions_by_score):
        for decision in decisions_by_score[score.event_id, score.rater_id]:
            score = settle(score, decision, now)  # noqa: PLW2901 - a fold over the decisions
        settled.append(score)
    await write_settled(connection, settled)
    return mine


async def _lock(connection: AsyncConnection, keys: Collection[tuple[int, UUID]]) -> list[Score]:
    rows = await connection.execute(
        _LOCK, {"event_id": [event_id for event_id, _ in keys], "rater_id": [rater_id for _, rater_id in keys]}
    )
    return [score_of(row) for row in rows]


async def write_settled(connection: AsyncConnection, settled: Sequence[Score]) -> None:
    """Writes what has become of scores that the transaction has locked; the commit notifies those who wait for it."""
    await connection.execute(_WRITE, arrays_of(_SCORE, settled))
