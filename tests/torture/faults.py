"""The faults that the nemesis can inflict on an arena. Each one leaves the arena intact, or recovering.

Faults that wait for a batch of ratings hold it on the link while they strike. So they strike between claim and send,
around line_provider's commit, and between its reply and the settling, without a hook in any service.
"""

import asyncio
import random
import signal
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import asyncpg
import grpc
import psutil
from redis.asyncio import Redis

from devstack.postgres import Postgres
from devstack.processes import Process
from scoreline.line_provider.v1 import scores_pb2
from scoreline.line_provider.v1.scores_pb2_grpc import ScoreServiceStub
from tests.torture.arena import LEASE_SECONDS, Arena
from tests.torture.events import Event, Organiser, now
from tests.torture.http_client import Connection, ConnectionBroken, NotSent
from tests.torture.link import Caught, Link, Moment

_OCCASION_SECONDS = 20
_WAITING_SECONDS = 5
_PILE = 4
_POLL_SECONDS = 0.02
_RPC_SECONDS = 10


class NoOccasion(Exception):
    """The situation for which the fault waits did not arise."""


@dataclass(slots=True, kw_only=True)
class Theatre:
    """What the faults act on: the arena and the events."""

    arena: Arena
    organiser: Organiser
    channel: grpc.aio.Channel
    # Messages that the run itself has sent again, by line_provider's verdict.
    repeats: Counter[str] = field(default_factory=Counter)
    overdue_stops: list[str] = field(default_factory=list)


Inflict = Callable[[Theatre, random.Random], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Fault:
    """A kind of fault. Two that share a target never strike at the same time."""

    name: str
    targets: frozenset[str]
    inflict: Inflict


FAULTS: list[Fault] = []


def _fault(name: str, *targets: str) -> Callable[[Inflict], Inflict]:
    def add(inflict: Inflict) -> Inflict:
        FAULTS.append(Fault(name, frozenset(targets), inflict))
        return inflict

    return add


def fault_of(inflict: Inflict) -> Fault:
    return next(fault for fault in FAULTS if fault.inflict is inflict)


@_fault("kill -9 score_maker", "score_maker")
async def kill_score_maker(theatre: Theatre, rng: random.Random) -> None:
    await _kill(theatre.arena, theatre.arena.score_maker, rng.uniform(0, 0.5))


@_fault("kill -9 a worker", "workers")
async def kill_worker(theatre: Theatre, rng: random.Random) -> None:
    await _kill(theatre.arena, rng.choice(theatre.arena.workers), rng.uniform(0, 2))


@_fault("kill -9 both workers", "workers")
async def kill_workers(theatre: Theatre, rng: random.Random) -> None:
    pause = rng.uniform(0, 2)
    await asyncio.gather(*(_kill(theatre.arena, worker, pause) for worker in theatre.arena.workers))


@_fault("kill -9 line_provider", "line_provider")
async def kill_line_provider(theatre: Theatre, rng: random.Random) -> None:
    await _kill(theatre.arena, theatre.arena.line_provider, rng.uniform(0, 2))


@_fault("kill -9 a worker between claim and send", "workers", "worker link")
async def kill_worker_before_send(theatre: Theatre, rng: random.Random) -> None:
    async with _caught(theatre.arena.worker_link, Moment.REQUEST) as caught:
        await _kill(theatre.arena, _worker(theatre.arena, caught), rng.uniform(0, 1))


@_fault("kill -9 a worker between line_provider's commit and its reply", "workers", "worker link")
async def kill_worker_before_reply(theatre: Theatre, rng: random.Random) -> None:
    async with _caught(theatre.arena.worker_link, Moment.REPLY) as caught:
        await _kill(theatre.arena, _worker(theatre.arena, caught), rng.uniform(0, 1))


@_fault("kill -9 a worker between reply and settling", "workers", "worker link")
async def kill_worker_after_reply(theatre: Theatre, rng: random.Random) -> None:
    async with _caught(theatre.arena.worker_link, Moment.REPLY) as caught:
        worker = _worker(theatre.arena, caught)
        await caught.let_go()
        await _kill(theatre.arena, worker, rng.uniform(0, 1))


@_fault("kill -9 line_provider before its commit", "line_provider", "worker link")
async def kill_line_provider_before_commit(theatre: Theatre, rng: random.Random) -> None:
    async with _caught(theatre.arena.worker_link, Moment.REQUEST) as caught:
        await caught.let_go()
        await _kill(theatre.arena, theatre.arena.line_provider, rng.uniform(0, 1))


@_fault("kill -9 line_provider after its commit", "line_provider", "worker link")
async def kill_line_provider_after_commit(theatre: Theatre, rng: random.Random) -> None:
    async with _caught(theatre.arena.worker_link, Moment.REPLY):
        await _kill(theatre.arena, theatre.arena.line_provider, rng.uniform(0, 1))


@_fault("kill -9 score_maker while it writes", "score_maker", "score_maker's database")
async def kill_score_maker_while_it_writes(theatre: Theatre, rng: random.Random) -> None:
    connection = await theatre.arena.connect(theatre.arena.system.score_maker_app_database_url)
    try:
        await connection.execute("BEGIN; LOCK TABLE scores_outbox IN SHARE MODE")
        await until_waiting(connection, 1)
        await _kill(theatre.arena, theatre.arena.score_maker, rng.uniform(0, 0.3))
    finally:
        connection.terminate()


@_fault("SIGTERM score_maker", "score_maker")
async def stop_score_maker(theatre: Theatre, rng: random.Random) -> None:
    """Stops it after it has served for a moment."""
    await _until_serving(theatre.arena)
    await asyncio.sleep(rng.uniform(0.2, 1.5))
    await _stop(theatre, theatre.arena.score_maker)


@_fault("SIGTERM a worker", "workers")
async def stop_worker(theatre: Theatre, rng: random.Random) -> None:
    await _stop(theatre, rng.choice(theatre.arena.workers))


@_fault("SIGTERM line_provider", "line_provider")
async def stop_line_provider(theatre: Theatre, rng: random.Random) -> None:
    await _stop(theatre, theatre.arena.line_provider)


@_fault("SIGSTOP score_maker", "score_maker")
async def freeze_score_maker(theatre: Theatre, rng: random.Random) -> None:
    await _freeze(theatre.arena.score_maker, rng.uniform(0.5, 2))


@_fault("SIGSTOP a worker beyond its lease", "workers", "worker link")
async def freeze_worker(theatre: Theatre, rng: random.Random) -> None:
    async with _caught(theatre.arena.worker_link, rng.choice(list(Moment))) as caught:
        worker = _worker(theatre.arena, caught)
        await caught.let_go()
        await _freeze(worker, LEASE_SECONDS + rng.uniform(0.2, 2))


@_fault("SIGSTOP line_provider", "line_provider")
async def freeze_line_provider(theatre: Theatre, rng: random.Random) -> None:
    await _freeze(theatre.arena.line_provider, rng.uniform(1, LEASE_SECONDS + 2))


@_fault("immediate stop of line_provider's PostgreSQL", "line_provider's database")
async def crash_line_provider_database(theatre: Theatre, rng: random.Random) -> None:
    await _crash(theatre.arena.system.line_provider_postgres, rng.uniform(0, 2))


@_fault("immediate stop of line_provider's PostgreSQL in a batch", "line_provider's database", "worker link")
async def crash_line_provider_database_in_a_batch(theatre: Theatre, rng: random.Random) -> None:
    async with _caught(theatre.arena.worker_link, Moment.REQUEST) as caught:
        await caught.let_go()
        await _crash(theatre.arena.system.line_provider_postgres, rng.uniform(0, 1))


@_fault("immediate stop of score_maker's PostgreSQL", "score_maker's database")
async def crash_score_maker_database(theatre: Theatre, rng: random.Random) -> None:
    await _crash(theatre.arena.system.score_maker_postgres, rng.uniform(0, 1))


@_fault("SIGSTOP line_provider's PostgreSQL", "line_provider's database")
async def freeze_line_provider_database(theatre: Theatre, rng: random.Random) -> None:
    await _freeze(theatre.arena.system.line_provider_postgres, rng.uniform(0.5, LEASE_SECONDS + 2))


@_fault("SIGSTOP score_maker's PostgreSQL", "score_maker's database")
async def freeze_score_maker_database(theatre: Theatre, rng: random.Random) -> None:
    await _freeze(theatre.arena.system.score_maker_postgres, rng.uniform(0.5, LEASE_SECONDS + 2))


@_fault("database sessions terminated", "line_provider's database", "score_maker's database")
async def terminate_sessions(theatre: Theatre, rng: random.Random) -> None:
    system = theatre.arena.system
    urls = [
        system.line_provider_app_database_url,
        system.score_maker_app_database_url,
        system.arq_worker_database_url,
    ]
    connection = await theatre.arena.connect(rng.choice(urls))
    try:
        await connection.execute("""
            SELECT pg_terminate_backend(pid)
            FROM pg_stat_activity
            WHERE usename = current_user AND pid <> pg_backend_pid()
        """)
    finally:
        connection.terminate()


@_fault("kill -9 Valkey", "valkey")
async def kill_valkey(theatre: Theatre, rng: random.Random) -> None:
    valkey = theatre.arena.system.valkey
    await valkey.kill()
    await asyncio.sleep(rng.uniform(0, 3))
    await valkey.start()


@_fault("FLUSHALL", "valkey")
async def flush_valkey(theatre: Theatre, rng: random.Random) -> None:
    async with Redis.from_url(theatre.arena.system.valkey.url) as valkey:
        await valkey.flushall()


@_fault("SIGSTOP Valkey", "valkey")
async def freeze_valkey(theatre: Theatre, rng: random.Random) -> None:
    await _freeze(theatre.arena.system.valkey, rng.uniform(1, 4))


@_fault("link of the workers cut", "worker link")
async def cut_worker_link(theatre: Theatre, rng: random.Random) -> None:
    await theatre.arena.worker_link.cut()


@_fault("link of the workers refused", "worker link")
async def refuse_worker_link(theatre: Theatre, rng: random.Random) -> None:
    async with theatre.arena.worker_link.refusing():
        await asyncio.sleep(rng.uniform(0.5, 3))


@_fault("link of the workers slow", "worker link")
async def slow_worker_link(theatre: Theatre, rng: random.Random) -> None:
    async with theatre.arena.worker_link.slow(rng.uniform(0.05, 1)):
        await asyncio.sleep(rng.uniform(2, 4))


@_fault("link of the workers half-open", "worker link")
async def half_open_worker_link(theatre: Theatre, rng: random.Random) -> None:
    async with theatre.arena.worker_link.half_open():
        await asyncio.sleep(rng.uniform(1, LEASE_SECONDS + 2))


@_fault("replies dropped after line_provider's commit", "worker link")
async def drop_replies(theatre: Theatre, rng: random.Random) -> None:
    async with theatre.arena.worker_link.dropping_replies():
        await asyncio.sleep(rng.uniform(1, 3))


@_fault("link of score_maker cut", "feed link")
async def cut_feed_link(theatre: Theatre, rng: random.Random) -> None:
    await theatre.arena.feed_link.cut()


@_fault("link of score_maker refused", "feed link")
async def refuse_feed_link(theatre: Theatre, rng: random.Random) -> None:
    async with theatre.arena.feed_link.refusing():
        await asyncio.sleep(rng.uniform(1, 4))


@_fault("link of score_maker slow or half-open", "feed link")
async def trouble_feed_link(theatre: Theatre, rng: random.Random) -> None:
    link = theatre.arena.feed_link
    async with link.half_open() if rng.random() < 0.5 else link.slow(rng.uniform(0.2, 2)):
        await asyncio.sleep(rng.uniform(1, 4))


@_fault("link to score_maker's database cut", "database link")
async def cut_database_link(theatre: Theatre, rng: random.Random) -> None:
    await theatre.arena.database_link.cut()


@_fault("link to score_maker's database slow or half-open", "database link")
async def trouble_database_link(theatre: Theatre, rng: random.Random) -> None:
    link = theatre.arena.database_link
    async with link.half_open() if rng.random() < 0.5 else link.slow(rng.uniform(0.01, 0.2)):
        await asyncio.sleep(rng.uniform(1, 3))


@_fault("replies of score_maker's database lost after its commits", "database link")
async def lose_replies_of_the_database(theatre: Theatre, rng: random.Random) -> None:
    async with theatre.arena.database_link.deaf():
        await asyncio.sleep(rng.uniform(0.2, 1))


@_fault("messages repeated and reordered")
async def repeat_messages(theatre: Theatre, rng: random.Random) -> None:
    """Sends messages of the outbox before their worker does, and some of all that ever passed."""
    waiting = await _outbox(theatre.arena)
    passed = theatre.arena.worker_link.traffic.changes
    changes = waiting + rng.sample(passed, min(300, len(passed)))
    changes += rng.sample(changes, len(changes) // 4)
    rng.shuffle(changes)
    middle = len(changes) // 2
    await asyncio.gather(*(_resend(theatre, half) for half in (changes[:middle], changes[middle:]) if half))


@_fault("batches piled up behind a lock on their events", "line_provider's database")
async def pile_up_batches(theatre: Theatre, rng: random.Random) -> None:
    changes = theatre.arena.worker_link.traffic.changes
    if not changes:
        raise NoOccasion
    batches = [rng.sample(changes, min(300, len(changes))) for _ in range(_PILE)]
    connection = await theatre.arena.connect(theatre.arena.system.line_provider_app_database_url)
    try:
        await connection.execute("BEGIN; SELECT FROM events ORDER BY event_id FOR UPDATE")
        sending = asyncio.gather(*(_resend(theatre, batch) for batch in batches))
        try:
            await until_waiting(connection, _PILE)
        finally:
            connection.terminate()
            await sending
    finally:
        connection.terminate()


@_fault("an event whose deadline comes soon", "organiser")
async def soon_over(theatre: Theatre, rng: random.Random) -> None:
    await theatre.organiser.create(open_for=timedelta(seconds=rng.uniform(1, 5)))


@_fault("a deadline moved into the past", "organiser")
async def move_deadline(theatre: Theatre, rng: random.Random) -> None:
    event = _open_event(theatre.organiser, rng)
    await theatre.organiser.create(open_for=timedelta(hours=1))
    await theatre.organiser.move_deadline(event, now() - timedelta(seconds=rng.choice((-0.3, 0, 0.5, 60))))


@_fault("an event cancelled", "organiser")
async def cancel_event(theatre: Theatre, rng: random.Random) -> None:
    event = _open_event(theatre.organiser, rng)
    await theatre.organiser.create(open_for=timedelta(hours=1))
    await theatre.organiser.cancel(event)


@_fault("an event cancelled while ratings wait for it", "organiser", "line_provider's database")
async def cancel_event_under_ratings(theatre: Theatre, rng: random.Random) -> None:
    event = _open_event(theatre.organiser, rng)
    connection = await theatre.arena.connect(theatre.arena.system.line_provider_app_database_url)
    try:
        await connection.execute(f"BEGIN; SELECT FROM events WHERE event_id = {event.event_id} FOR UPDATE")
        cancelling = asyncio.create_task(theatre.organiser.cancel(event))
        try:
            await until_waiting(connection, 2)
        finally:
            connection.terminate()
            await cancelling
    finally:
        connection.terminate()


@asynccontextmanager
async def _caught(link: Link, moment: Moment) -> AsyncIterator[Caught]:
    """Holds the next batch, or the verdicts on it. Raises NoOccasion if none passes in time."""
    watching = link.caught(moment)
    try:
        async with asyncio.timeout(_OCCASION_SECONDS):
            caught = await watching.__aenter__()
    except TimeoutError:
        raise NoOccasion from None
    try:
        yield caught
    finally:
        await watching.__aexit__(None, None, None)


def _worker(arena: Arena, caught: Caught) -> Process:
    worker = arena.worker_at(caught.port)
    if worker is None:
        raise NoOccasion
    return worker


async def _kill(arena: Arena, process: Process, pause: float) -> None:
    async with arena.keepers[process.name].down():
        await process.kill()
        await asyncio.sleep(pause)


async def _stop(theatre: Theatre, process: Process) -> None:
    async with theatre.arena.keepers[process.name].down():
        await process.stop()
        if await process.wait() == -signal.SIGKILL:
            theatre.overdue_stops.append(process.name)


async def _freeze(process: Process, seconds: float) -> None:
    """Freezes the process and its children; once it is frozen itself, it starts no more of them."""
    if not process.running:
        raise NoOccasion
    process.send_signal(signal.SIGSTOP)
    try:
        children = psutil.Process(process.pid).children(recursive=True)
    except psutil.NoSuchProcess:
        raise NoOccasion from None
    _signal_all(children, signal.SIGSTOP)
    try:
        await asyncio.sleep(seconds)
    finally:
        _signal_all(children, signal.SIGCONT)
        process.send_signal(signal.SIGCONT)


def _signal_all(processes: Iterable[psutil.Process], number: signal.Signals) -> None:
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.send_signal(number)


async def _crash(server: Postgres, pause: float) -> None:
    await server.stop_immediately()
    await asyncio.sleep(pause)
    await server.start()


async def until_waiting(connection: "asyncpg.Connection[Any]", sessions: int) -> None:
    """Returns when so many sessions of the connection's role, the service's, wait for locks. Raises NoOccasion."""
    query = "SELECT count(*) FROM pg_stat_activity WHERE usename = current_user AND wait_event_type = 'Lock'"
    try:
        async with asyncio.timeout(_WAITING_SECONDS):
            while await connection.fetchval(query) < sessions:
                await asyncio.sleep(_POLL_SECONDS)
                # Otherwise a transaction sees the sessions as they were when it first looked.
                await connection.execute("SELECT pg_stat_clear_snapshot()")
    except TimeoutError:
        raise NoOccasion from None


async def _until_serving(arena: Arena) -> None:
    """Returns when score_maker answers. Raises NoOccasion."""
    connection = Connection(arena.system.http)
    try:
        async with asyncio.timeout(_OCCASION_SECONDS):
            while True:
                try:
                    await connection.request("GET", "/healthz")
                except (NotSent, ConnectionBroken):
                    await asyncio.sleep(_POLL_SECONDS)
                else:
                    return
    except TimeoutError:
        raise NoOccasion from None
    finally:
        connection.close()


def _open_event(organiser: Organiser, rng: random.Random) -> Event:
    return rng.choice([event for event in organiser.events.values() if event.is_open])


async def _outbox(arena: Arena) -> list[scores_pb2.ScoreChange]:
    async with arena.score_maker_database() as connection:
        rows = await connection.fetch(
            "SELECT event_id, rater_id, value, version, accepted_at FROM scores_outbox ORDER BY id DESC LIMIT 500"
        )
    changes = []
    for row in rows:
        change = scores_pb2.ScoreChange(
            event_id=row["event_id"], rater_id=row["rater_id"].bytes, value=row["value"], version=row["version"]
        )
        change.accepted_at.FromDatetime(row["accepted_at"])
        changes.append(change)
    return changes


async def _resend(theatre: Theatre, changes: list[scores_pb2.ScoreChange]) -> None:
    metadata = (("authorization", f"Bearer {theatre.arena.system.worker_token}"),)
    stub = ScoreServiceStub(theatre.channel)
    request = scores_pb2.ApplyScoresRequest(changes=changes)
    try:
        response = await stub.ApplyScores(request, metadata=metadata, timeout=_RPC_SECONDS, wait_for_ready=True)
    except grpc.aio.AioRpcError:
        theatre.repeats["not answered"] += len(changes)
        raise NoOccasion from None
    for verdict in response.verdicts:
        theatre.repeats[scores_pb2.Verdict.Name(verdict.verdict).removeprefix("VERDICT_").lower()] += 1
