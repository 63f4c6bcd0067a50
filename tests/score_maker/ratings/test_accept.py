"""Accepting ratings: one transaction for score and outbox message."""

import asyncio
from datetime import UTC, datetime, timedelta
from uuid import uuid4

from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from score_maker.ratings import accept, queries
from score_maker.ratings.accept import ANY_VERSION, Submission, versions
from score_maker.ratings.domain import OtherVersion, Outcome, Refusal, Score, State, Unchanged, Verdict
from tests.support.database import until_blocked
from tests.support.settling import settle_all
from tests.support.submitting import ahead, outbox_rows, rating, submit


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


async def test_each_change_is_a_new_version_of_the_same_score(engine: AsyncEngine) -> None:
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


async def test_a_rating_is_accepted_while_the_deadline_is_unknown(engine: AsyncEngine) -> None:
    (score,) = await submit(engine, Submission(event_id=1, rater_id=uuid4(), value=5, deadline=None))
    assert isinstance(score, Score)


async def test_a_withdrawal_is_refused_without_a_rating_to_withdraw(engine: AsyncEngine) -> None:
    rater = uuid4()
    assert await submit(engine, rating(None, rater_id=rater)) == [Refusal.NOTHING_TO_WITHDRAW]
    await submit(engine, rating(3, rater_id=rater))
    (withdrawn,) = await submit(engine, rating(None, rater_id=rater))
    assert isinstance(withdrawn, Score)
    assert await submit(engine, rating(None, rater_id=rater)) == [Unchanged(withdrawn)]
    assert await outbox_rows(engine) == [(1, 3, 1), (1, None, 2)]


async def test_resubmitting_the_pending_or_confirmed_value_changes_nothing(engine: AsyncEngine) -> None:
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


async def test_resubmitting_after_a_rejection_creates_a_new_version(engine: AsyncEngine) -> None:
    rater = uuid4()
    await submit(engine, rating(4, rater_id=rater))
    await settle_all(engine, Verdict.APPLIED)
    await submit(engine, rating(2, rater_id=rater))
    await settle_all(engine, Verdict.REJECTED, "event_cancelled")
    # The rating of 4 stands again, but this is a new submission all the same.
    (score,) = await submit(engine, rating(4, rater_id=rater))
    assert isinstance(score, Score)
    assert (score.version, score.state) == (3, State.PENDING)


async def test_a_conditional_submission_is_written_only_if_its_condition_on_the_version_holds(
    engine: AsyncEngine,
) -> None:
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
    assert await outcome(5, if_match=versions([2])) == OtherVersion(first), "although the value is the same"
    second = await outcome(4, if_match=versions([3, 1]))
    assert isinstance(second, Score)
    assert second.version == 2
    assert await outcome(None, if_match=versions([1])) == OtherVersion(second)
    assert isinstance(await outcome(None, if_match=ANY_VERSION, if_none_match=versions([1])), Score)
    assert await outbox_rows(engine) == [(1, 5, 1), (1, 4, 2), (1, None, 3)]


async def test_a_submission_overtaken_by_another_process_is_checked_against_the_current_score(
    engine: AsyncEngine,
) -> None:
    """The statement's snapshot is older than the rows that it finds once the other process has committed."""
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
        async with engine.connect() as looking:
            await looking.execution_options(isolation_level="AUTOCOMMIT")
            await until_blocked(looking)
    plain, failed, unchanged, not_new, neighbour = await second
    assert isinstance(plain, Score)
    assert (plain.version, plain.value) == (3, 3)
    assert isinstance(failed, OtherVersion)
    assert isinstance(not_new, OtherVersion)
    assert isinstance(unchanged, Unchanged)
    assert [o.score and o.score.version for o in (failed, unchanged, not_new)] == [2, 2, 1]
    assert isinstance(neighbour, Score)
    assert len(await outbox_rows(engine)) == 3 + 4 + 2


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
