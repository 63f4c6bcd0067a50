"""Requests that wait for the settlement of their ratings."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from score_maker.ratings.domain import Score, State, Verdict
from score_maker.ratings.waiters import SettlementWaiters
from tests.support.settling import settle_all
from tests.support.submitting import rating, submit
from tests.support.waiting import eventually


@pytest.fixture
async def waiters(database_url: str, engine: AsyncEngine) -> AsyncIterator[SettlementWaiters]:
    waiters = SettlementWaiters(engine, database_url, max_waiting=2_000)
    running = asyncio.create_task(waiters.run())
    yield waiters
    running.cancel()
    await asyncio.wait({running})


async def test_two_thousand_requests_wait_without_a_connection_each_and_further_ones_are_answered_at_once(
    waiters: SettlementWaiters, engine: AsyncEngine
) -> None:
    outcomes = await submit(engine, *(rating(4) for _ in range(2_001)))
    pending = [outcome for outcome in outcomes if isinstance(outcome, Score)]
    never: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    waiting = [asyncio.create_task(waiters.wait(score, 3600, unless=never)) for score in pending[:2_000]]
    await eventually(lambda: waiters.waiting == 2_000, within=60)
    assert (await waiters.wait(pending[2_000], 3600, unless=never)).state is State.PENDING
    async with engine.connect() as connection:
        connections = text("SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()")
        assert (await connection.execute(connections)).scalar_one() <= 10 + 1
    await settle_all(engine, Verdict.APPLIED)
    assert {score.state for score in await asyncio.gather(*waiting)} == {State.CONFIRMED}
    assert waiters.waiting == 0
