"""Erasing a rater, through the whole system."""

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from httpx import AsyncClient
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from arq_worker.line_provider_client import LineProviderClient
from arq_worker.reconcile import Reconciler
from devstack.system import System
from scoreline_common.line_provider_channel import open_channel
from tests.support.organising import Metadata, move_deadline, new_event
from tests.support.rating import rate, rate_accepted
from tests.support.waiting import Check, until

if TYPE_CHECKING:
    from scoreline.line_provider.v1.events_pb2_grpc import EventServiceAsyncStub

WAIT = {"Prefer": "wait=30"}


@pytest.fixture
async def reconciler(system: System) -> AsyncIterator[Reconciler]:
    engine = create_async_engine(system.arq_worker_database_url)
    token = system.worker_token
    async with LineProviderClient(open_channel(system.grpc_address), token, timedelta(seconds=10)) as line_provider:
        yield Reconciler(engine, line_provider)
    await engine.dispose()


async def test_erasure_withdraws_open_ratings_and_anonymises_the_others_which_still_count(
    rater: AsyncClient,
    organiser: "EventServiceAsyncStub",
    admin: Metadata,
    line_provider_database: AsyncEngine,
    everything_settled: Check,
    both_databases_agree: Check,
    reconciler: Reconciler,
) -> None:
    still_open, closed, pending = [await new_event(organiser, admin) for _ in range(3)]
    for event_id in (still_open, closed):
        assert (await rate(rater, 5, event_id=event_id, headers=WAIT)).status_code == 201
    await rate_accepted(rater, 5, event_id=pending)
    await move_deadline(organiser, admin, closed)

    async def event(event_id: int) -> Any:
        return (await rater.get(f"/events/{event_id}")).json()

    await until(lambda: event(closed), lambda shown: bool(shown["phase"] == "closed"))
    old_cookie = {"Cookie": f"scoreline_rater={rater.cookies['scoreline_rater']}"}

    erased = await rater.delete("/scores")
    assert (erased.status_code, erased.json()) == (202, {"withdrawn": 2, "anonymised": 1})
    assert not rater.cookies
    await everything_settled()

    async with line_provider_database.connect() as connection:
        events = await connection.execute(
            text("SELECT event_id, score_count, score_sum FROM events WHERE event_id = ANY(:ids)"),
            {"ids": [still_open, closed, pending]},
        )
        totals = {row.event_id: (row.score_count, row.score_sum) for row in events}
    assert totals == {still_open: (0, 0), closed: (1, 5), pending: (0, 0)}
    await both_databases_agree()
    assert (await reconciler.run()).divergent == 0

    for headers in ({}, old_cookie):
        assert (await rater.get("/scores", headers=headers)).json()["scores"] == []
        assert (await rater.get(f"/events/{closed}/score", headers=headers)).status_code == 404
        assert (await rater.get(f"/events/{closed}", headers=headers)).json()["my_score"] is None
        assert (await rater.delete("/scores", headers=headers)).json() == {"withdrawn": 0, "anonymised": 0}

    # A person who returns, even with the old cookie, is a new rater.
    anew = await rate(rater, 2, event_id=still_open, headers=WAIT | old_cookie)
    assert (anew.status_code, anew.json()["version"]) == (201, 1)
    await everything_settled()
    await both_databases_agree()


async def test_the_worker_finishes_an_erasure_that_score_maker_has_only_recorded(
    rater: AsyncClient,
    organiser: "EventServiceAsyncStub",
    admin: Metadata,
    scores_database: AsyncEngine,
    everything_settled: Check,
    both_databases_agree: Check,
) -> None:
    event_id = await new_event(organiser, admin)
    assert (await rate(rater, 5, event_id=event_id, headers=WAIT)).status_code == 201
    # As if score_maker had died right after recording the request.
    async with scores_database.begin() as connection:
        await connection.execute(
            text("""
                INSERT INTO forgotten_raters (rater_id, forgotten_at)
                SELECT rater_id, now() FROM scores WHERE event_id = :event_id
            """),
            {"event_id": event_id},
        )

    async def score_count() -> int:
        return int((await rater.get(f"/events/{event_id}")).json()["score_count"])

    await until(score_count, lambda count: count == 0)
    await everything_settled()
    await both_databases_agree()
