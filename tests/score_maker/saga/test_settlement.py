"""Settling verdicts: each message once, by the worker that holds its lease."""

from datetime import timedelta
from uuid import UUID, uuid4

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from devstack.table_scans import rows_read_through
from score_maker.ratings import queries
from score_maker.ratings.domain import Reason, Score, State, Verdict
from score_maker.saga import outbox
from score_maker.saga.outbox import Claim, OutboxMessage
from score_maker.saga.settlement import DecidedMessage, settle_decided
from scoreline_common.database import create_engine
from tests.support.submitting import rating, submit

LONG = timedelta(minutes=5)


async def claim(engine: AsyncEngine, lease: timedelta = LONG) -> Claim:
    async with engine.begin() as connection:
        return await outbox.claim(connection, limit=100, lease=lease)


async def settle(engine: AsyncEngine, claim: Claim, *decisions: DecidedMessage) -> list[DecidedMessage]:
    async with engine.begin() as connection:
        return await settle_decided(connection, claim.lease_token, decisions)


async def score_of(engine: AsyncEngine, rater: UUID, event_id: int = 1) -> Score:
    async with engine.connect() as connection:
        score = await queries.get(connection, event_id, rater)
    assert score is not None
    return score


async def undecided(engine: AsyncEngine) -> int:
    async with engine.connect() as connection:
        count: int = (await connection.execute(text("SELECT count(*) FROM scores_outbox"))).scalar_one()
    return count


def applied(message: OutboxMessage) -> DecidedMessage:
    return DecidedMessage(message, Verdict.APPLIED)


def cancelled(message: OutboxMessage) -> DecidedMessage:
    return DecidedMessage(message, Verdict.REJECTED, Reason.EVENT_CANCELLED)


async def test_an_applied_message_confirms_its_score_and_leaves_the_outbox(engine: AsyncEngine) -> None:
    rater = uuid4()
    await submit(engine, rating(4, rater_id=rater))
    claimed = await claim(engine)
    await settle(engine, claimed, applied(claimed.messages[0]))
    score = await score_of(engine, rater)
    assert (score.state, score.confirmed_value, score.confirmed_version) == (State.CONFIRMED, 4, 1)
    assert await undecided(engine) == 0


async def test_a_rejected_change_is_compensated(engine: AsyncEngine) -> None:
    rater = uuid4()
    await submit(engine, rating(4, rater_id=rater))
    first = await claim(engine)
    await settle(engine, first, applied(first.messages[0]))
    await submit(engine, rating(1, rater_id=rater))
    second = await claim(engine)
    await settle(engine, second, cancelled(second.messages[0]))
    score = await score_of(engine, rater)
    assert (score.state, score.reason, score.value, score.confirmed_version) == (
        State.REJECTED,
        "event_cancelled",
        4,
        1,
    )
    assert await undecided(engine) == 0


async def test_several_versions_of_one_score_settle_in_one_batch(engine: AsyncEngine) -> None:
    rater, other = uuid4(), uuid4()
    for value in (5, 4, 3):
        await submit(engine, rating(value, rater_id=rater))
    await submit(engine, rating(2, rater_id=other, event_id=2))
    claimed = await claim(engine)
    by_version = {(m.event_id, m.version): m for m in claimed.messages}
    await settle(
        engine,
        claimed,
        cancelled(by_version[1, 3]),
        applied(by_version[2, 1]),
        applied(by_version[1, 2]),
        DecidedMessage(by_version[1, 1], Verdict.DUPLICATE),
    )
    score = await score_of(engine, rater)
    assert (score.state, score.value, score.confirmed_version) == (State.REJECTED, 4, 2)
    assert (await score_of(engine, other, event_id=2)).state is State.CONFIRMED
    assert await undecided(engine) == 0


async def test_a_verdict_on_an_older_version_leaves_the_newer_one_pending(engine: AsyncEngine) -> None:
    rater = uuid4()
    await submit(engine, rating(5, rater_id=rater))
    claimed = await claim(engine)
    await submit(engine, rating(2, rater_id=rater))
    await settle(engine, claimed, applied(claimed.messages[0]))
    score = await score_of(engine, rater)
    assert (score.state, score.value, score.confirmed_value) == (State.PENDING, 2, 5)
    assert await undecided(engine) == 1


async def test_a_slow_worker_that_lost_its_lease_settles_nothing(engine: AsyncEngine) -> None:
    rater = uuid4()
    await submit(engine, rating(5, rater_id=rater))
    slow = await claim(engine, lease=timedelta(0))
    quick = await claim(engine)
    assert await settle(engine, slow, cancelled(slow.messages[0])) == []
    assert (await score_of(engine, rater)).state is State.PENDING
    assert len(await settle(engine, quick, applied(quick.messages[0]))) == 1
    assert (await score_of(engine, rater)).state is State.CONFIRMED


async def test_a_verdict_settles_only_once(engine: AsyncEngine) -> None:
    await submit(engine, rating(5, rater_id=uuid4()))
    claimed = await claim(engine)
    assert len(await settle(engine, claimed, applied(claimed.messages[0]))) == 1
    assert await settle(engine, claimed, applied(claimed.messages[0])) == []


async def test_small_groups_never_scan_a_table_even_if_it_was_never_analysed(
    engine: AsyncEngine, owner_url: str
) -> None:
    # One session, so that PostgreSQL gets to reuse its cached plans.
    session = create_engine(owner_url, pool_size=1)
    before = await rows_read_through(session, "scores")
    for _ in range(40):
        await submit(session, *(rating(4) for _ in range(10)))
        claimed = await claim(session)
        assert len(await settle(session, claimed, *map(applied, claimed.messages))) == 10
    assert await rows_read_through(session, "scores") == before
    await session.dispose()
