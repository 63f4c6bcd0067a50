"""Accepting ratings: one transaction for score and outbox message, and group commit around it."""

import asyncio
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from score_maker.ratings import accept, queries
from score_maker.ratings.accept import ANY_VERSION, Submission, versions
from score_maker.ratings.domain import OtherVersion, Outcome, Refusal, Score, State, Unchanged, Verdict
from score_maker.ratings.group_commit import Unavailable
from score_maker.storage.migrate import migrate
from scoreline_common.database import create_engine
from tests.support.committing import committing
from tests.support.settling import settle_all


def ahead() -> datetime:
    return datetime.now(UTC) + timedelta(hours=1)


def rating(value: int | None, *, event_id: int = 1, rater_id: UUID | None = None) -> Submission:
    return Submission(event_id=event_id, rater_id=rater_id or uuid4(), value=value, deadline=ahead())


async def submit(engine: AsyncEngine, *submissions: Submission) -> list[Outcome]:
    async with engine.begin() as connection:
        return await accept.submit(connection, submissions)


async def outbox_rows(engine: AsyncEngine) -> list[tuple[int, int | None, int]]:
    async with engine.connect() as connection:
        rows = await connection.execute(text("SELECT event_id, value, version FROM scores_outbox ORDER BY id"))
        return [(row.event_id, row.value, row.version) for row in rows]


async def test_a_rating_is_written_with_its_outbox_message(engine: AsyncEngine) -> None:
    submission = rating(4)
    (score,) = await submit(engine, submission)
    assert isinstance(score, Score)
    assert (score.value, score.version, score.state, score.confirmed_value) == (4, 1, State.PENDING, None)
    async with engine.connect() as connection:
        assert await queries.get(connection, 1, submission.rater_id) == score
    assert await outbox_rows(engine) == [(1, 4, 1)]


async def test_a_rolled_back_rating_leaves_neither_score_nor_message(engine: AsyncEngine) -> None:
    submission = rating(4)
    async with engine.connect() as connection:
        await accept.submit(connection, [submission])
        await connection.rollback()
        assert await queries.get(connection, 1, submission.rater_id) is None
    assert await outbox_rows(engine) == []


async def test_each_change_of_mind_is_a_new_version_of_the_same_rating(engine: AsyncEngine) -> None:
    rater = uuid4()
    for value in (5, 1, None, 3):
        await submit(engine, rating(value, rater_id=rater))
    async with engine.connect() as connection:
        score = await queries.get(connection, 1, rater)
    assert score is not None
    assert (score.value, score.version) == (3, 4)
    assert await outbox_rows(engine) == [(1, 5, 1), (1, 1, 2), (1, None, 3), (1, 3, 4)]


async def test_nothing_is_written_after_the_deadline(engine: AsyncEngine) -> None:
    late = Submission(event_id=1, rater_id=uuid4(), value=5, deadline=datetime.now(UTC) - timedelta(seconds=1))
    punctual = rating(2)
    outcomes = await submit(engine, late, punctual)
    assert outcomes[0] is Refusal.DEADLINE_PASSED
    assert isinstance(outcomes[1], Score)
    assert await outbox_rows(engine) == [(1, 2, 1)]


async def test_a_rating_is_taken_where_the_deadline_is_not_known(engine: AsyncEngine) -> None:
    (score,) = await submit(engine, Submission(event_id=1, rater_id=uuid4(), value=5, deadline=None))
    assert isinstance(score, Score)


async def test_there_is_nothing_to_withdraw_where_no_rating_stands(engine: AsyncEngine) -> None:
    rater = uuid4()
    assert await submit(engine, rating(None, rater_id=rater)) == [Refusal.NOTHING_TO_WITHDRAW]
    await submit(engine, rating(3, rater_id=rater))
    (withdrawn,) = await submit(engine, rating(None, rater_id=rater))
    assert isinstance(withdrawn, Score)
    assert await submit(engine, rating(None, rater_id=rater)) == [Unchanged(withdrawn)]
    assert await outbox_rows(engine) == [(1, 3, 1), (1, None, 2)]


async def test_to_say_again_what_is_pending_or_confirmed_changes_nothing(engine: AsyncEngine) -> None:
    rater = uuid4()
    (score,) = await submit(engine, rating(4, rater_id=rater))
    assert isinstance(score, Score)
    assert await submit(engine, rating(4, rater_id=rater)) == [Unchanged(score)]
    assert await outbox_rows(engine) == [(1, 4, 1)]
    await settle_all(engine, Verdict.APPLIED)
    (unchanged,) = await submit(engine, rating(4, rater_id=rater))
    assert isinstance(unchanged, Unchanged)
    assert (unchanged.score.state, unchanged.score.version) == (State.CONFIRMED, 1)
    assert await outbox_rows(engine) == []


async def test_to_say_again_what_was_rejected_asks_again(engine: AsyncEngine) -> None:
    rater = uuid4()
    await submit(engine, rating(4, rater_id=rater))
    await settle_all(engine, Verdict.APPLIED)
    await submit(engine, rating(2, rater_id=rater))
    await settle_all(engine, Verdict.REJECTED, "event_cancelled")
    # The rating of 4 stands again, and yet this is another word.
    (score,) = await submit(engine, rating(4, rater_id=rater))
    assert isinstance(score, Score)
    assert (score.version, score.state) == (3, State.PENDING)


async def test_a_score_is_written_only_if_it_is_of_a_version_that_the_submission_admits(engine: AsyncEngine) -> None:
    rater = uuid4()

    async def outcome(value: int | None, **conditions: str) -> Outcome:
        (result,) = await submit(
            engine, Submission(event_id=1, rater_id=rater, value=value, deadline=ahead(), **conditions)
        )
        return result

    assert await outcome(5, if_match=versions([1])) == OtherVersion(None)
    assert await outcome(5, if_match=ANY_VERSION) == OtherVersion(None)
    first = await outcome(5, if_none_match=ANY_VERSION)
    assert isinstance(first, Score)
    assert await outcome(4, if_none_match=ANY_VERSION) == OtherVersion(first)
    assert await outcome(4, if_match=versions([2, 3])) == OtherVersion(first)
    assert await outcome(4, if_match=versions([])) == OtherVersion(first)
    assert await outcome(5, if_match=versions([2])) == OtherVersion(first), "though it says the same"
    second = await outcome(4, if_match=versions([3, 1]))
    assert isinstance(second, Score)
    assert second.version == 2
    assert await outcome(None, if_match=versions([1])) == OtherVersion(second)
    assert isinstance(await outcome(None, if_match=ANY_VERSION, if_none_match=versions([1])), Score)
    assert await outbox_rows(engine) == [(1, 5, 1), (1, 4, 2), (1, None, 3)]


async def test_a_word_that_another_process_has_overtaken_is_judged_by_what_stands_then(engine: AsyncEngine) -> None:
    """What the statement sees when it begins is not what it finds once the other has committed."""
    unconditional, conditional, same, new = (uuid4() for _ in range(4))
    for rater in (unconditional, conditional, same):
        await submit(engine, rating(1, rater_id=rater))
    async with engine.begin() as first:
        await accept.submit(
            first, [rating(value, rater_id=rater) for rater, value in ((unconditional, 2), (conditional, 2), (same, 3))]
        )
        await accept.submit(first, [rating(2, rater_id=new)])
        second = asyncio.create_task(
            submit(
                engine,
                rating(3, rater_id=unconditional),
                Submission(event_id=1, rater_id=conditional, value=3, deadline=ahead(), if_match=versions([1])),
                rating(3, rater_id=same),
                Submission(event_id=1, rater_id=new, value=3, deadline=ahead(), if_none_match=ANY_VERSION),
                rating(5),
            )
        )
        await _until_blocked(engine)
    plain, failed, unchanged, not_new, neighbour = await second
    assert isinstance(plain, Score)
    assert (plain.version, plain.value) == (3, 3)
    assert isinstance(failed, OtherVersion)
    assert isinstance(not_new, OtherVersion)
    assert isinstance(unchanged, Unchanged)
    assert [o.score and o.score.version for o in (failed, unchanged, not_new)] == [2, 2, 1]
    assert isinstance(neighbour, Score)
    assert len(await outbox_rows(engine)) == 3 + 4 + 2


async def _until_blocked(engine: AsyncEngine) -> None:
    """Waits until a transaction waits for another."""
    async with asyncio.timeout(60), engine.connect() as connection:
        await connection.execution_options(isolation_level="AUTOCOMMIT")
        while not await connection.scalar(text("SELECT count(*) FROM pg_locks WHERE NOT granted")):
            await asyncio.sleep(0.01)


async def test_a_raters_own_ratings_come_newest_first_and_page_by_page(engine: AsyncEngine) -> None:
    rater = uuid4()
    for event_id in (1, 2, 3, 4, 5):
        await submit(engine, rating(3, event_id=event_id, rater_id=rater), rating(1, event_id=event_id))
    async with engine.connect() as connection:
        first = await queries.list_of_rater(connection, rater, limit=3)
        last = first[-1]
        second = await queries.list_of_rater(connection, rater, limit=3, before=(last.accepted_at, last.event_id))
    assert [score.event_id for score in first + second] == [5, 4, 3, 2, 1]


async def test_the_commit_wakes_the_relay(engine: AsyncEngine, database_url: str) -> None:
    woken = asyncio.Event()
    listening = create_async_engine(database_url)
    async with listening.connect() as connection:
        raw = await connection.get_raw_connection()
        assert raw.driver_connection is not None
        await raw.driver_connection.add_listener("scores_outbox", lambda *_: woken.set())
        await submit(engine, rating(5))
        async with asyncio.timeout(10):
            await woken.wait()
        await connection.invalidate()
    await listening.dispose()


async def test_submissions_that_arrive_together_share_a_transaction(engine: AsyncEngine) -> None:
    async with committing(engine) as group_commit:
        answers = await asyncio.gather(*(group_commit.submit(rating(3)) for _ in range(200)))
    assert all(isinstance(answer, Score) for answer in answers)
    async with engine.connect() as connection:
        transactions = await connection.scalar(text("SELECT count(DISTINCT xmin::text) FROM scores"))
    assert transactions == 1
    assert len(await outbox_rows(engine)) == 200


async def test_one_raters_words_on_one_event_keep_their_order_and_get_their_own_answers(engine: AsyncEngine) -> None:
    rater = uuid4()
    async with committing(engine) as group_commit:
        answers = await asyncio.gather(*(group_commit.submit(rating(v, rater_id=rater)) for v in (5, 1, 4, 2)))
    assert [(a.value, a.version) for a in answers if isinstance(a, Score)] == [(5, 1), (1, 2), (4, 3), (2, 4)]


async def test_a_condition_that_fails_never_fails_its_neighbours(engine: AsyncEngine) -> None:
    careful = Submission(event_id=1, rater_id=uuid4(), value=3, deadline=ahead(), if_match=versions([7]))
    async with committing(engine) as group_commit:
        answers = await asyncio.gather(*(group_commit.submit(each) for each in (rating(1), careful, rating(5))))
    assert [type(answer) for answer in answers] == [Score, OtherVersion, Score]
    assert len(await outbox_rows(engine)) == 2


async def test_a_bad_submission_never_fails_its_neighbours(engine: AsyncEngine) -> None:
    async with committing(engine) as group_commit:
        answers = await asyncio.gather(
            *(group_commit.submit(rating(value)) for value in (1, 9, 5)), return_exceptions=True
        )
    assert isinstance(answers[0], Score)
    assert isinstance(answers[1], IntegrityError)
    assert isinstance(answers[2], Score)
    assert len(await outbox_rows(engine)) == 2


async def test_leaving_commits_what_still_waits_and_takes_nothing_more(engine: AsyncEngine) -> None:
    async with committing(engine) as group_commit:
        waiting = [asyncio.create_task(group_commit.submit(rating(3))) for _ in range(10)]
        await asyncio.sleep(0)
    assert all(isinstance(answer, Score) for answer in await asyncio.gather(*waiting))
    with pytest.raises(Unavailable):
        await group_commit.submit(rating(3))


async def test_more_than_may_wait_is_turned_away(engine: AsyncEngine) -> None:
    async with committing(engine, max_waiting=5) as group_commit:
        answers = await asyncio.gather(*(group_commit.submit(rating(3)) for _ in range(8)), return_exceptions=True)
    assert [isinstance(answer, Score) for answer in answers] == [True] * 5 + [False] * 3
    assert all(isinstance(answer, Unavailable) for answer in answers[5:])


async def test_a_database_that_is_away_is_told_apart_from_a_bad_submission() -> None:
    engine = create_async_engine("postgresql+asyncpg://anybody:secret@/anywhere?host=/nonexistent")
    async with committing(engine) as group_commit:
        with pytest.raises(Unavailable):
            await group_commit.submit(rating(3))
    await engine.dispose()


async def test_a_connection_that_the_server_has_closed_costs_no_rating(engine: AsyncEngine) -> None:
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


async def test_migrating_again_and_several_at_once_changes_nothing(engine: AsyncEngine, owner_url: str) -> None:
    await submit(engine, rating(3))
    await asyncio.gather(migrate(owner_url), migrate(owner_url))
    assert len(await outbox_rows(engine)) == 1
