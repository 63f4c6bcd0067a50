"""The transactional outbox: versions on their way to line_provider that are not decided yet.

A claim is a lease: one short statement stamps a batch with a token and hides it until the lease expires, so no
transaction stays open across a network call, and a dead worker's messages become due again by themselves. Every
statement that ends or postpones a message filters on its token: a worker that outlived its lease changes nothing that
another has claimed since. A message is deleted when it is settled (see settlement.py), never because it was sent.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple
from uuid import UUID, uuid4

from sqlalchemy import bindparam, text
from sqlalchemy.dialects.postgresql import INTERVAL
from sqlalchemy.ext.asyncio import AsyncConnection

from score_maker.storage import channels
from score_maker.storage.arrays import arrays_of, types_of, unnest
from score_maker.storage.tables import scores_outbox


class OutboxMessage(NamedTuple):
    """One version of one score on its way to line_provider. `attempts` counts its claims, this one included."""

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
    """Messages that belong to this worker until the lease expires."""

    lease_token: UUID
    messages: list[OutboxMessage]


_KEY = types_of(scores_outbox, "event_id", "id")

# A fresh message is due at once, and so is one whose lease has expired: next_attempt_at stands for both.
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
    """Claims up to `limit` messages that are due, and skips those that another worker is claiming right now."""
    lease_token = uuid4()
    rows = await connection.execute(_CLAIM, {"limit": limit, "lease_token": lease_token, "lease": lease})
    return Claim(lease_token, list(map(OutboxMessage._make, rows)))


_POSTPONED = {**_KEY, "delay": "interval"}

_POSTPONE = text(f"""
    UPDATE scores_outbox AS message
    SET lease_token = NULL, next_attempt_at = now() + postponed.delay, last_error = :error
    FROM {unnest(_POSTPONED, alias="postponed")}
    WHERE message.event_id = postponed.event_id AND message.id = postponed.id
      AND message.lease_token = :lease_token
""")  # noqa: S608 - the fragments are our own


async def postpone(connection: AsyncConnection, claim: Claim, delays: Sequence[timedelta], *, error: str) -> int:
    """Returns a claim: each message is due again after its delay. Returns how many the lease still held."""
    parameters = arrays_of(_KEY, claim.messages) | {"delay": list(delays)}
    result = await connection.execute(_POSTPONE, parameters | {"lease_token": claim.lease_token, "error": error})
    return result.rowcount


_TAKE = text(f"""
    DELETE FROM scores_outbox AS message
    USING {unnest(_KEY, alias="decided")}
    WHERE message.event_id = decided.event_id AND message.id = decided.id
      AND message.lease_token = :lease_token
    RETURNING message.id, now() AS settled_at
""")  # noqa: S608 - the fragments are our own


async def take(
    connection: AsyncConnection, lease_token: UUID, messages: Sequence[OutboxMessage]
) -> dict[int, datetime]:
    """Deletes those of the messages that the lease still holds, for the caller to settle in the same transaction.

    Returns the ids of the deleted messages, each with the time of the transaction.
    """
    rows = await connection.execute(_TAKE, arrays_of(_KEY, messages) | {"lease_token": lease_token})
    return dict(rows.all())


@dataclass(frozen=True, slots=True)
class StuckMessage:
    """A message that is not settled yet, with what an operator needs to see why."""

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
    """Returns messages that are not settled yet, those with the most attempts first."""
    return [StuckMessage(*row) for row in await connection.execute(_OLDEST, {"limit": limit})]


_RETRY = text(f"""
    UPDATE scores_outbox
    SET next_attempt_at = now()
    WHERE lease_token IS NULL AND next_attempt_at > now()
      AND (CAST(:ids AS bigint[]) IS NULL OR id = ANY(CAST(:ids AS bigint[])))
    RETURNING pg_notify('{channels.OUTBOX}', '')
""")  # noqa: S608 - the fragments are our own


async def retry(connection: AsyncConnection, ids: Sequence[int] | None) -> int:
    """Makes these messages (None: all) due now, unless a worker holds them; returns how many were waiting."""
    result = await connection.execute(_RETRY, {"ids": None if ids is None else list(ids)})
    return len(result.all())


@dataclass(frozen=True, slots=True, kw_only=True)
class Overview:
    """The messages by what they wait for: any worker (due), the worker that has claimed them, or their next attempt.

    `stuck` counts the messages with at least one failed attempt, whatever they wait for now. `oldest_age` is None if
    there are no messages.
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
    """Reads the whole outbox, which takes about a tenth of a second for a million messages."""
    return Overview(**(await connection.execute(_OVERVIEW)).one()._mapping)


_NEXT_DUE = text("SELECT min(next_attempt_at) - now() FROM scores_outbox")


async def time_until_next_due(connection: AsyncConnection) -> timedelta | None:
    """Returns how long until a message is due (zero or less: now); None if the outbox is empty."""
    due_in: timedelta | None = (await connection.execute(_NEXT_DUE)).scalar_one()
    return due_in
