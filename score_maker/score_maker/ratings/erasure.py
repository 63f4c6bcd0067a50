"""Erasing a rater: what can still be withdrawn is withdrawn, and nothing links the person to the rest any more.

The request is recorded first; from that commit on nothing is accepted from the rater, nor shown to the holder of their
token. Then each of their ratings is withdrawn as the rater would do it: line_provider, which alone knows for certain,
applies the withdrawal if the event is open, and rejects it otherwise, so that the rating still counts. The process may
die on the way, and a rating may have been in flight: arq_worker repeats this until neither is possible any more.
docs/erasure.md explains why this is enough.
"""

from datetime import timedelta
from uuid import UUID

from sqlalchemy import bindparam, text
from sqlalchemy.dialects.postgresql import INTERVAL
from sqlalchemy.ext.asyncio import AsyncEngine

from score_maker.identity import accounts
from score_maker.storage import channels

BATCH = 500
# Longer than a transaction may take: what it accepted before the request was recorded is committed by then.
IN_FLIGHT = timedelta(minutes=2)

_STANDING = text("SELECT event_id FROM scores WHERE rater_id = :rater_id AND value IS NOT NULL")

_RECORD = text("""
    INSERT INTO forgotten_raters (rater_id, forgotten_at)
    VALUES (:rater_id, now())
    ON CONFLICT DO NOTHING
    RETURNING true
""")

# A rating that stands again because its withdrawal was rejected counts for good. Rows are locked in the order in which
# all transactions lock them.
_WITHDRAW = text(f"""
    WITH standing AS (
        SELECT event_id, rater_id
        FROM scores JOIN forgotten_raters USING (rater_id)
        WHERE rater_id = :rater_id
          AND value IS NOT NULL
          AND NOT (state = 'rejected' AND accepted_at >= forgotten_at)
          AND NOT EXISTS (SELECT FROM final_results AS final WHERE final.event_id = scores.event_id)
        ORDER BY event_id
        LIMIT :limit
        FOR UPDATE OF scores
    ), withdrawn AS (
        UPDATE scores
        SET value = NULL, version = version + 1, state = 'pending', reason = NULL, accepted_at = now(),
            settled_at = NULL
        FROM standing
        WHERE scores.event_id = standing.event_id AND scores.rater_id = standing.rater_id
        RETURNING scores.*
    ), queued AS (
        INSERT INTO scores_outbox (event_id, rater_id, value, version, accepted_at)
        SELECT event_id, rater_id, value, version, accepted_at
        FROM withdrawn
        RETURNING id
    )
    SELECT count(*)
    FROM queued CROSS JOIN (SELECT pg_notify('{channels.OUTBOX}', '')) AS notified
""")  # noqa: S608 - the fragments are our own

_UNFINISHED = text("SELECT rater_id FROM forgotten_raters WHERE finished_at IS NULL ORDER BY forgotten_at LIMIT :limit")

_FINISH = text("""
    UPDATE forgotten_raters SET finished_at = now() WHERE rater_id = :rater_id AND forgotten_at < now() - :in_flight
""").bindparams(bindparam("in_flight", type_=INTERVAL))


async def erase(engine: AsyncEngine, rater_id: UUID) -> list[int]:
    """Records the erasure request and withdraws the rater's ratings; repeating it is safe.

    Returns the ids of the events on which the rater had a rating, or none if the request was recorded before. When it
    returns, every withdrawal that is possible is in the outbox.
    """
    async with engine.begin() as connection:
        events = (await connection.scalars(_STANDING, {"rater_id": rater_id})).all()
        is_new = (await connection.scalars(_RECORD, {"rater_id": rater_id})).one_or_none()
        await accounts.unlink(connection, rater_id)
    await _withdraw_all(engine, rater_id)
    return list(events) if is_new else []


async def finish(engine: AsyncEngine) -> int:
    """Withdraws what is left of erased raters; returns how many ratings that were."""
    async with engine.connect() as connection:
        unfinished = (await connection.scalars(_UNFINISHED, {"limit": BATCH})).all()
    withdrawn = 0
    for rater_id in unfinished:
        withdrawn += await _withdraw_all(engine, rater_id)
        async with engine.begin() as connection:
            await connection.execute(_FINISH, {"rater_id": rater_id, "in_flight": IN_FLIGHT})
    return withdrawn


async def _withdraw_all(engine: AsyncEngine, rater_id: UUID) -> int:
    total = 0
    while True:
        async with engine.begin() as connection:
            withdrawn: int = await connection.scalar(_WITHDRAW, {"rater_id": rater_id, "limit": BATCH}) or 0
        total += withdrawn
        if withdrawn < BATCH:
            return total
