"""How throughput changes as the tables grow, and when all load is on one event.

A small system and a large one are measured in turns on the same machine.
"""

import asyncio
from functools import partial
from pathlib import Path

from httpx import AsyncClient
from sqlalchemy import TextClause, text
from sqlalchemy.ext.asyncio import create_async_engine

from benchmarks import load, wrk
from benchmarks.drain import Drain, open_events
from benchmarks.rounds import in_turns
from devstack.system import System

RATINGS = 50_000
FEW_STORED = 1_000
MANY_EVENTS = 100_000

# Both databases get the same ratings, so that there is nothing to reconcile.
_RATINGS = """
    FROM generate_series(1, :count) AS nth
    CROSS JOIN LATERAL (SELECT (CAST(:event_ids AS bigint[]))[1 + nth % :events] AS event_id) AS rated
"""
# UUIDs of version 7, as score_maker makes them, one for each millisecond.
_RATER_ID = "(lpad(to_hex(1760000000000 + nth), 12, '0') || '7' || substr(md5(nth::text), 14))::uuid"
_STORE_CONFIRMED = text(f"""
    INSERT INTO scores (
        event_id, rater_id, value, version, state, confirmed_value, confirmed_version, accepted_at, settled_at
    )
    SELECT event_id, {_RATER_ID}, 1 + nth % 5, 1, 'confirmed', 1 + nth % 5, 1, now(), now() {_RATINGS}
""")
_STORE_APPLIED = text(f"""
    INSERT INTO applied_scores (event_id, rater_id, value, version, applied_at)
    SELECT event_id, {_RATER_ID}, 1 + nth % 5, 1, now() {_RATINGS}
""")
_ADD_UP = text("""
    UPDATE events
    SET score_count = rated.count, score_sum = rated.sum, histogram = rated.histogram, revision = revision + 1,
        status = 'low_score'
    FROM (
        SELECT event_id, count(*), sum(value), ARRAY[
            count(*) FILTER (WHERE value = 1), count(*) FILTER (WHERE value = 2), count(*) FILTER (WHERE value = 3),
            count(*) FILTER (WHERE value = 4), count(*) FILTER (WHERE value = 5)
        ] AS histogram
        FROM applied_scores
        GROUP BY event_id
    ) AS rated
    WHERE events.event_id = rated.event_id
""")
_ADD_EVENTS = text("""
    INSERT INTO events (title, description, starts_at, deadline)
    SELECT 'Event ' || nth, 'One of many', now() - interval '1 hour', now() + interval '1 day' + nth * interval '1 s'
    FROM generate_series(1, :count) AS nth
""")

_LAST_EVENT = f"Event {MANY_EVENTS}"


# A name, and the figures of the large and of the small system, one for each round, per second.
Growth = tuple[str, list[float], list[float]]


async def measure(data: Path, *, stored: int, rounds: int) -> list[Growth]:
    return [*await _of_events(data, rounds=rounds), *await _of_ratings(data, stored=stored, rounds=rounds)]


async def _of_events(data: Path, *, rounds: int) -> list[Growth]:
    async with System(data / "few_events") as few, System(data / "many_events") as many:
        await _execute(many.line_provider_database_url, _ADD_EVENTS, {"count": MANY_EVENTS})
        # line_provider publishes only its own changes; after a restart it reads all events from its database.
        await many.line_provider.stop()
        await many.line_provider.start()
        async with AsyncClient(base_url=many.http_url) as client:
            while (await client.get("/events?sort=newest&limit=1")).json()["events"][0]["title"] != _LAST_EVENT:
                await asyncio.sleep(1)
        # The first requests fill caches and are slower.
        for system in (few, many):
            await _lists(system, data)
        lists = await in_turns({"few": partial(_lists, few, data), "many": partial(_lists, many, data)}, rounds)
    return [(f"GET /events, {MANY_EVENTS:,} events against 104", lists["many"], lists["few"])]


async def _of_ratings(data: Path, *, stored: int, rounds: int) -> list[Growth]:
    small, large = Drain(data / "small"), Drain(data / "large")
    async with small.system, large.system:
        await _store(small.system, FEW_STORED)
        await _store(large.system, stored)
        for drain in (small, large):
            await _ratings(drain)
        paces = await in_turns(
            {
                "few": partial(_ratings, small),
                "many": partial(_ratings, large),
                "one event": partial(_ratings, small, one_event=True),
            },
            rounds,
        )
    accepted = {name: [each[0] for each in measured] for name, measured in paces.items()}
    settled = {name: [each[1] for each in measured] for name, measured in paces.items()}
    return [
        (f"accepting ratings, {stored:,} stored against {FEW_STORED:,}", accepted["many"], accepted["few"]),
        (f"settling ratings, {stored:,} stored against {FEW_STORED:,}", settled["many"], settled["few"]),
        ("accepting ratings, all of one event", accepted["one event"], accepted["few"]),
        ("settling ratings, all of one event", settled["one event"], settled["few"]),
    ]


async def _ratings(drain: Drain, *, one_event: bool = False) -> tuple[float, float]:
    """Ratings accepted per second, and settled per second."""
    events = open_events(drain.system)[: 1 if one_event else None]
    accepted = await drain.fill(RATINGS, events)
    (settling,) = await drain.measure(RATINGS)
    return accepted, settling.per_second


async def _lists(system: System, data: Path) -> float:
    return (await wrk.run(system.http_url, data / "load.lua", load.LIST_EVENTS, seconds=3)).per_second


async def _store(system: System, count: int) -> None:
    event_ids = open_events(system)
    ratings = {"count": count, "event_ids": event_ids, "events": len(event_ids)}
    await _execute(system.score_maker_database_url, _STORE_CONFIRMED, ratings)
    await _execute(system.line_provider_database_url, _STORE_APPLIED, ratings)
    await _execute(system.line_provider_database_url, _ADD_UP, {})


async def _execute(url: str, statement: TextClause, values: dict[str, object]) -> None:
    engine = create_async_engine(url)
    async with engine.begin() as connection:
        await connection.execute(statement, values)
    async with engine.connect() as connection:
        await connection.execution_options(isolation_level="AUTOCOMMIT")
        await connection.execute(text("VACUUM ANALYZE"))
    await engine.dispose()
