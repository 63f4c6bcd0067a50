"""Writes submissions to score_maker's database as the service does, but without HTTP and group commit."""

from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from score_maker.ratings import accept
from score_maker.ratings.accept import Submission
from score_maker.ratings.domain import Outcome


def ahead() -> datetime:
    return datetime.now(UTC) + timedelta(hours=1)


def rating(value: int | None, *, event_id: int = 1, rater_id: UUID | None = None) -> Submission:
    """A submission on an open event, by a new rater unless one is given. Without a value it is a withdrawal."""
    return Submission(event_id=event_id, rater_id=rater_id or uuid4(), value=value, deadline=ahead())


async def submit(engine: AsyncEngine, *submissions: Submission) -> list[Outcome]:
    """Commits the submissions in one transaction, and returns their outcomes in the same order."""
    async with engine.begin() as connection:
        return await accept.submit(connection, submissions)


async def outbox_rows(engine: AsyncEngine) -> list[tuple[int, int | None, int]]:
    """Event, value and version of each message, in the order of writing."""
    async with engine.connect() as connection:
        rows = await connection.execute(text("SELECT event_id, value, version FROM scores_outbox ORDER BY id"))
        return [(row.event_id, row.value, row.version) for row in rows]
