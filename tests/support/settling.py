"""What arq_worker does with the outbox, done by its own means; and what lies there."""

import asyncio
from datetime import timedelta

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from score_maker.ratings.domain import Reason, Verdict
from score_maker.saga import outbox
from score_maker.saga.settlement import DecidedMessage, settle_decided


async def count_written(engine: AsyncEngine) -> tuple[int, int]:
    """How many scores and how many outbox messages there are."""
    async with engine.connect() as connection:
        row = (
            await connection.execute(
                text("SELECT (SELECT count(*) FROM scores) AS s, (SELECT count(*) FROM scores_outbox) AS o")
            )
        ).one()
        return row.s, row.o


async def settle_all(engine: AsyncEngine, verdict: Verdict, reason: str | None = None) -> None:
    async with engine.begin() as connection:
        claim = await outbox.claim(connection, limit=10_000, lease=timedelta(minutes=1))
        decisions = [DecidedMessage(message, verdict, Reason(reason) if reason else None) for message in claim.messages]
        await settle_decided(connection, claim.lease_token, decisions)


async def until_queued(engine: AsyncEngine, messages: int = 1) -> None:
    """Waits until that many messages lie in the outbox."""
    async with asyncio.timeout(60):
        while (await count_written(engine))[1] != messages:
            await asyncio.sleep(0.01)
