"""The transactional outbox: what line_provider has not ruled on yet.

A claim is a lease: one short statement stamps a batch with a token and hides it until the lease expires, so no
transaction stays open across a network call and a dead worker's messages come back by themselves. Whatever ends or
postpones a message names its token: a worker that outlived its lease changes nothing that another has claimed since.
Messages leave the table only when they are settled (see settlement.py), never because they were sent.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple
from uuid import UUID, uuid4

from sqlalchemy import bindparam, text
from sqlalchemy.dialects.postgresql import INTERVAL
from sqlalchemy.ext.asyncio import AsyncConnection

# The channel on which a commit that added messages says so.
WAKE_CHANNEL = "scores_outbox"


class OutboxMessage(NamedTuple):
    """One version of one score on its way to line_provider. `attempts` counts the claims, this one included."""

    id: int
    event_id: int
    rater_id: UUID
    value: int | None
    version: int
    accepted_at: datetime
    trace_context: str | None
    attempts: int


@dataclass(frozen=True, slots=True)
class Claim:
    """Messages that are this worker's alone until the lease expires."""

    lease_token: UUID
    messages: list[OutboxMessage]


# Fresh messages are due at once and so is an expired lease: next_attempt_at is both.
_CLAIM = text("""
    WITH due AS (
        SELECT event_id, id
        FROM scores_outbox
        WHERE next_attempt_at <= now()
        ORDER BY next_attempt_at, id
        LIMIT :limit
        FOR UPDATE SKIP LOCKED
    )
    UPDATE scores_outbox AS message
    SET lease_token = :lease_token, attempts = attempts + 1, next_attempt_at = now() + :lease
    FROM due
    WHERE message.event_id = due.event_id AND message.id = due.id
    RETURNING message.id, message.event_id, rater_id, value, version, accepted_at, trace_context, attempts
""").bindparams(bindparam("lease", type_=INTERVAL))


async def claim(connection: AsyncConnection, *, limit: int, lease: timedelta) -> Claim:
    """Claims up to `limit` messages that are due, skipping those that another worker is claiming right now."""
    lease_token = uuid4()
    rows = await connection.execute(_CLAIM, {"limit": limit, "lease_token": lease_token, "lease": lease})
    return Claim(lease_token, list(map(OutboxMessage._make, rows)))


_POSTPONE = text("""
    UPDATE scores_outbox AS message
    SET lease_token = NULL, next_attempt_at = now() + postponed.delay, last_error = :error
    FROM unnest(CAST(:event_ids AS bigint[]), CAST(:ids AS bigint[]), CAST(:delays AS interval[]))
        AS postponed(event_id, id, delay)
    WHERE message.event_id = postponed.event_id AND message.id = postponed.id
      AND message.lease_token = :lease_token
""")


async def postpone(connection: AsyncConnection, claim: Claim, delays: Sequence[timedelta], *, error: str) -> int:
    """Gives a claim back, each message to be tried again after its delay. Answers how many were still its own."""
    result = await connection.execute(
        _POSTPONE,
        {
            "event_ids": [message.event_id for message in claim.messages],
            "ids": [message.id for message in claim.messages],
            "delays": list(delays),
            "lease_token": claim.lease_token,
            "error": error,
        },
    )
    return result.rowcount


@dataclass(frozen=True, slots=True)
class StuckMessage:
    """A message with what has kept it: for whoever looks after the outbox."""

    id: int
    event_id: int
    rater_id: UUID
    value: int | None
    version: int
    accepted_at: datetime
    age: timedelta
    attempts: int
    next_attempt_in: timedelta
    is_claimed: bool
    last_error: str | None


_OLDEST = text("""
    SELECT id, event_id, rater_id, value, version, accepted_at, now() - accepted_at AS age, attempts,
        next_attempt_at - now() AS next_attempt_in, lease_token IS NOT NULL AND next_attempt_at > now() AS is_claimed,
        last_error
    FROM scores_outbox
    ORDER BY attempts DESC, id
    LIMIT :limit
""")


async def list_stuck(connection: AsyncConnection, *, limit: int) -> list[StuckMessage]:
    """Messages that are not settled yet, the most often tried first."""
    return [StuckMessage(*row) for row in await connection.execute(_OLDEST, {"limit": limit})]


_RETRY = text("""
    UPDATE scores_outbox
    SET next_attempt_at = now()
    WHERE lease_token IS NULL AND next_attempt_at > now()
      AND (CAST(:ids AS bigint[]) IS NULL OR id = ANY(CAST(:ids AS bigint[])))
    RETURNING pg_notify('scores_outbox', '')
""")


async def retry(connection: AsyncConnection, ids: Sequence[int] | None) -> int:
    """Makes these messages (None: all) due now unless a worker holds them; answers how many were waiting."""
    result = await connection.execute(_RETRY, {"ids": None if ids is None else list(ids)})
    return len(result.all())


@dataclass(frozen=True, slots=True)
class Overview:
    """All messages by what they wait for: a worker to claim them, the worker that has, or the time of another attempt.

    `stuck` are those, whatever they wait for now, of which an attempt has failed; `oldest_age` is None where there are
    no messages.
    """

    messages: int
    due: int
    claimed: int
    postponed: int
    stuck: int
    oldest_age: timedelta | None


_OVERVIEW = text("""
    SELECT count(*) AS messages,
        count(*) FILTER (WHERE next_attempt_at <= now()) AS due,
        count(*) FILTER (WHERE next_attempt_at > now() AND lease_token IS NOT NULL) AS claimed,
        count(*) FILTER (WHERE next_attempt_at > now() AND lease_token IS NULL) AS postponed,
        count(last_error) AS stuck,
        now() - min(accepted_at) AS oldest_age
    FROM scores_outbox
""")


async def overview(connection: AsyncConnection) -> Overview:
    """Reads the whole outbox: about a tenth of a second for a million messages."""
    return Overview(*(await connection.execute(_OVERVIEW)).one())


_NEXT_DUE = text("SELECT min(next_attempt_at) - now() FROM scores_outbox")


async def time_until_next_due(connection: AsyncConnection) -> timedelta | None:
    """How long until a message is due (not above zero: now); None where the outbox is empty."""
    due_in: timedelta | None = (await connection.execute(_NEXT_DUE)).scalar_one()
    return due_in
