"""Several workers on one outbox settle each rating once, lose none, and do not block each other."""

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from httpx import AsyncClient
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from devstack.system import MANY_RATERS, System
from score_maker.ratings import accept
from score_maker.ratings.accept import Submission
from score_maker.ratings.domain import Score

Check = Callable[[], Awaitable[None]]

RATERS = 2_000
EVENTS = 10
ROUNDS = 5


@pytest.fixture(scope="module")
async def system(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[System]:
    """Its own system, so that messages of other tests are not counted."""
    async with System(tmp_path_factory.mktemp("many_workers"), settings=MANY_RATERS) as system:
        yield system


async def test_eight_workers_settle_each_message_of_a_full_outbox_once_without_a_deadlock(
    system: System,
    rater: AsyncClient,
    scores_database: AsyncEngine,
    line_provider_database: AsyncEngine,
    everything_settled: Check,
    both_databases_agree: Check,
) -> None:
    rng = random.Random(8)
    listing = (await rater.get("/events", params={"phase": "open", "limit": EVENTS})).json()["events"]
    event_ids = [event["event_id"] for event in listing]
    raters = [UUID(int=rng.getrandbits(128), version=4) for _ in range(RATERS)]
    expected: dict[tuple[int, UUID], int | None] = {}
    accepted = 0

    await everything_settled()
    await system.arq_worker.stop()
    for _ in range(ROUNDS):
        round_ = [
            Submission(
                event_id=rng.choice(event_ids),
                rater_id=rater_id,
                value=rng.choice((1, 2, 3, 4, 5)),
                deadline=datetime.now(UTC) + timedelta(1),
            )
            for rater_id in raters
        ]
        expected |= {(submission.event_id, submission.rater_id): submission.value for submission in round_}
        async with scores_database.begin() as connection:
            outcomes = await accept.submit(connection, round_)
        # The other submissions repeat the value that their rater has already given the event.
        accepted += sum(1 for outcome in outcomes if isinstance(outcome, Score))

    async with AsyncExitStack() as stack:
        workers = [system.another_worker(f"arq_worker_{number}") for number in range(8)]
        await asyncio.gather(*(stack.enter_async_context(worker) for worker in workers))
        await everything_settled()
    # The workers have stopped, so each has logged everything that it settled.
    settled = [_settled(worker.output()) for worker in workers]
    await system.arq_worker.start()

    # Each message was settled by one worker, and more than one worker settled some.
    assert sum(settled) == accepted
    assert sum(1 for count in settled if count) > 1
    ours = text("SELECT event_id, rater_id, confirmed_value, state FROM scores WHERE rater_id = ANY(:raters)")
    async with scores_database.connect() as connection:
        rows = (await connection.execute(ours, {"raters": raters})).all()
    assert {(row.event_id, row.rater_id): row.confirmed_value for row in rows} == expected
    assert {row.state for row in rows} == {"confirmed"}
    await both_databases_agree()
    for engine in (scores_database, line_provider_database):
        async with engine.connect() as connection:
            query = text("SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()")
            assert await connection.scalar(query) == 0


def _settled(log: str) -> int:
    """The number of messages that a worker has logged as settled."""
    lines = [line for line in log.splitlines() if " settled " in line]
    return sum(int(line.split("messages=")[1].split()[0]) for line in lines)
