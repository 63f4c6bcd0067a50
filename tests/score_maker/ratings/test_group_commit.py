"""Group commit: submissions that arrive together share a transaction, but no outcome."""

import asyncio
from collections.abc import Sequence
from uuid import uuid4

import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from score_maker.ratings import accept
from score_maker.ratings.accept import Submission, versions
from score_maker.ratings.domain import OtherVersion, Outcome, Score
from score_maker.ratings.group_commit import Unavailable
from scoreline_common.database import create_engine
from tests.support.committing import committing
from tests.support.submitting import ahead, outbox_rows, rating


async def test_submissions_that_arrive_together_share_a_transaction(engine: AsyncEngine) -> None:
    async with committing(engine) as group_commit:
        answers = await asyncio.gather(*(group_commit.submit(rating(3)) for _ in range(200)))
    assert all(isinstance(answer, Score) for answer in answers)
    async with engine.connect() as connection:
        transactions = await connection.scalar(text("SELECT count(DISTINCT xmin::text) FROM scores"))
    assert transactions == 1
    assert len(await outbox_rows(engine)) == 200


async def test_one_raters_submissions_on_one_event_keep_their_order_and_get_their_own_answers(
    engine: AsyncEngine,
) -> None:
    rater = uuid4()
    async with committing(engine) as group_commit:
        answers = await asyncio.gather(*(group_commit.submit(rating(v, rater_id=rater)) for v in (5, 1, 4, 2)))
    assert [(a.value, a.version) for a in answers if isinstance(a, Score)] == [(5, 1), (1, 2), (4, 3), (2, 4)]


async def test_a_failed_condition_does_not_fail_the_rest_of_its_group(engine: AsyncEngine) -> None:
    careful = Submission(event_id=1, rater_id=uuid4(), value=3, deadline=ahead(), if_match=versions([7]))
    async with committing(engine) as group_commit:
        answers = await asyncio.gather(*(group_commit.submit(each) for each in (rating(1), careful, rating(5))))
    assert [type(answer) for answer in answers] == [Score, OtherVersion, Score]
    assert len(await outbox_rows(engine)) == 2


async def test_an_invalid_submission_does_not_fail_the_rest_of_its_group(engine: AsyncEngine) -> None:
    async with committing(engine) as group_commit:
        answers = await asyncio.gather(
            *(group_commit.submit(rating(value)) for value in (1, 9, 5)), return_exceptions=True
        )
    assert isinstance(answers[0], Score)
    assert isinstance(answers[1], IntegrityError)
    assert isinstance(answers[2], Score)
    assert len(await outbox_rows(engine)) == 2


async def test_an_error_outside_the_database_fails_its_group_and_not_the_next_one(
    engine: AsyncEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried: list[int] = []

    async def fail(connection: AsyncConnection, submissions: Sequence[Submission]) -> list[Outcome]:
        tried.append(len(submissions))
        raise RuntimeError("nothing that a database says")

    async with committing(engine) as group_commit:
        with monkeypatch.context() as failing:
            failing.setattr(accept, "submit", fail)
            answers = await asyncio.gather(*(group_commit.submit(rating(3)) for _ in range(3)), return_exceptions=True)
        assert [type(answer) for answer in answers] == [RuntimeError] * 3
        # As one group: submitting each alone would fail with the same error.
        assert tried == [3]
        assert await outbox_rows(engine) == []
        assert isinstance(await group_commit.submit(rating(3)), Score)
    assert len(await outbox_rows(engine)) == 1


async def test_closing_commits_the_waiting_submissions_and_accepts_no_more(engine: AsyncEngine) -> None:
    async with committing(engine) as group_commit:
        waiting = [asyncio.create_task(group_commit.submit(rating(3))) for _ in range(10)]
        await asyncio.sleep(0)
    assert all(isinstance(answer, Score) for answer in await asyncio.gather(*waiting))
    with pytest.raises(Unavailable):
        await group_commit.submit(rating(3))


async def test_submissions_are_refused_once_too_many_are_waiting(engine: AsyncEngine) -> None:
    async with committing(engine, max_waiting=5) as group_commit:
        answers = await asyncio.gather(*(group_commit.submit(rating(3)) for _ in range(8)), return_exceptions=True)
    assert [isinstance(answer, Score) for answer in answers] == [True] * 5 + [False] * 3
    assert all(isinstance(answer, Unavailable) for answer in answers[5:])


async def test_an_unreachable_database_is_distinguished_from_an_invalid_submission() -> None:
    engine = create_async_engine("postgresql+asyncpg://anybody:secret@/anywhere?host=/nonexistent")
    async with committing(engine) as group_commit:
        with pytest.raises(Unavailable):
            await group_commit.submit(rating(3))
    await engine.dispose()


async def test_no_rating_is_lost_when_the_server_closes_a_connection(engine: AsyncEngine) -> None:
    service = create_engine(engine.url.render_as_string(hide_password=False))
    async with committing(service) as group_commit:
        for value in (1, 2, 3):
            assert isinstance(await group_commit.submit(rating(value)), Score)
            async with engine.connect() as connection:
                ended = text("""
                    SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity
                    WHERE datname = current_database() AND pid <> pg_backend_pid() AND query LIKE '%judged%'
                """)
                assert (await connection.scalars(ended)).all() == [True]
    await service.dispose()
