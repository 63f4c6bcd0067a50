"""Reading scores."""

from uuid import uuid4

from sqlalchemy.ext.asyncio import AsyncEngine

from score_maker.ratings import queries
from tests.support.submitting import rating, submit


async def test_a_raters_ratings_are_listed_newest_first_in_pages(engine: AsyncEngine) -> None:
    rater = uuid4()
    for event_id in (1, 2, 3, 4, 5):
        await submit(engine, rating(3, event_id=event_id, rater_id=rater), rating(1, event_id=event_id))
    async with engine.connect() as connection:
        first = await queries.list_of_rater(connection, rater, limit=3)
        last = first[-1]
        second = await queries.list_of_rater(connection, rater, limit=3, before=(last.accepted_at, last.event_id))
    assert [score.event_id for score in first + second] == [5, 4, 3, 2, 1]
