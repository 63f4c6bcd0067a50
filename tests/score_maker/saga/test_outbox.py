"""Claims on the outbox: leases are exclusive, expire, and can be released."""

import asyncio
from datetime import timedelta

from sqlalchemy.ext.asyncio import AsyncEngine

from score_maker.saga import outbox
from score_maker.saga.outbox import Claim
from tests.support.submitting import rating, submit

LONG = timedelta(minutes=5)
OVER = timedelta(0)


async def fill(engine: AsyncEngine, count: int) -> None:
    await submit(engine, *(rating(1 + number % 5, event_id=1 + number % 7) for number in range(count)))


async def claim(engine: AsyncEngine, *, limit: int = 100, lease: timedelta = LONG) -> Claim:
    async with engine.begin() as connection:
        return await outbox.claim(connection, limit=limit, lease=lease)


async def test_concurrent_claims_share_no_message_and_miss_none(engine: AsyncEngine) -> None:
    await fill(engine, 500)
    claims = await asyncio.gather(*(claim(engine, limit=50) for _ in range(10)))
    claimed = [message.id for each in claims for message in each.messages]
    assert len(claimed) == len(set(claimed)) == 500
    assert (await claim(engine)).messages == []


async def test_a_dead_workers_messages_are_due_again_when_its_lease_expires(engine: AsyncEngine) -> None:
    await fill(engine, 3)
    dead = await claim(engine, lease=OVER)
    again = await claim(engine)
    assert {message.id for message in again.messages} == {message.id for message in dead.messages}
    assert {message.attempts for message in again.messages} == {2}


async def test_a_postponed_message_waits_with_its_error_and_does_not_block_the_rest(engine: AsyncEngine) -> None:
    await fill(engine, 2)
    first = await claim(engine, limit=1)
    async with engine.begin() as connection:
        assert await outbox.postpone(connection, first, [LONG], error="UNAVAILABLE: nobody there") == 1
    assert [m.id for m in (await claim(engine)).messages] != [m.id for m in first.messages]
    async with engine.connect() as connection:
        due = await outbox.time_until_next_due(connection)
    assert due is not None
    assert due > timedelta(0)


async def test_a_worker_that_lost_its_lease_postpones_nothing(engine: AsyncEngine) -> None:
    await fill(engine, 2)
    slow = await claim(engine, lease=OVER)
    await claim(engine)
    async with engine.begin() as connection:
        assert await outbox.postpone(connection, slow, [OVER, OVER], error="too late") == 0
    assert (await claim(engine)).messages == []


async def test_an_empty_outbox_has_nothing_due(engine: AsyncEngine) -> None:
    async with engine.connect() as connection:
        assert await outbox.time_until_next_due(connection) is None
    await fill(engine, 1)
    async with engine.connect() as connection:
        due = await outbox.time_until_next_due(connection)
    assert due is not None
    assert due <= timedelta(0)
