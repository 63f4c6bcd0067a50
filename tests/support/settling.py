"""Settles the outbox with the same functions as arq_worker, and counts the rows that are written."""

from datetime import timedelta

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from score_maker.ratings.domain import Reason, Verdict
from score_maker.saga import outbox
from score_maker.saga.settlement import DecidedMessage, settle_decided
from tests.support.waiting import until


async def count_written(engine: AsyncEngine) -> tuple[int, int]:
    """The number of scores and the number of outbox messages."""
    async with engine.connect() as connection:
        row = (
            await connection.execute(
                text("SELECT (SELECT count(*) FROM scores) AS s, (SELECT count(*) FROM scores_outbox) AS o")
            )
        ).one()
        return row.s, row.o


async def settle_all(engine: AsyncEngine, verdict: Verdict, reason: str | None = None) -> None:
    """Settles every message of the outbox with the same verdict."""
    async with engine.begin() as connection:
        claim = await outbox.claim(connection, limit=10_000, lease=timedelta(minutes=1))
        decisions = [DecidedMessage(message, verdict, Reason(reason) if reason else None) for message in claim.messages]
        await settle_decided(connection, claim.lease_token, decisions)


async def until_queued(engine: AsyncEngine, messages: int = 1) -> None:
    """Returns once the outbox has this many messages."""

    async def queued() -> int:
        return (await count_written(engine))[1]

    await until(queued, lambda number: number == messages, within=60)
