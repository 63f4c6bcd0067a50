"""One run: load and faults together, then time to recover, then the check."""

import asyncio
import contextlib
import random
import re
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

import asyncpg
import grpc

from tests.support.waiting import eventually
from tests.torture.arena import Arena, Sample
from tests.torture.checker import Records, check
from tests.torture.events import Event, Organiser
from tests.torture.faults import FAULTS, Fault, Theatre
from tests.torture.history import History, Violation
from tests.torture.http_client import Connection, ConnectionBroken, NotSent
from tests.torture.nemesis import Deeds, Nemesis
from tests.torture.raters import Habits, Rater, load

# A message that failed often is retried after a minute; everything else recovers quickly.
PEACE_WITHIN_SECONDS = 180

_SAMPLE_SECONDS = 1
_DIVERGENCE = re.compile(r"divergence\S* .*?event_id\S*?=\S*?(\d+)")
_LOGGED_ERROR = re.compile(r"\[(?:error|critical) *\S*\] *(\S+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a run does. The same plan draws the same numbers; what the machine adds by chance is not repeated."""

    seed: int
    seconds: float
    raters: int = 160
    events: int = 36
    habits: Habits = field(default_factory=Habits)
    faults: Sequence[Fault] = tuple(FAULTS)
    faults_a_minute: float = 40
    peace_within: float = PEACE_WITHIN_SECONDS


@dataclass(slots=True, kw_only=True)
class Outcome:
    """The result of a run."""

    plan: Plan
    seconds: float
    history: History
    events: dict[int, Event]
    deeds: Deeds
    theatre: Theatre
    violations: list[Violation]
    peace_seconds: float
    samples: list[Sample]
    logged_errors: Counter[str]
    crashes: list[str]
    recorded: Counter[str]


async def run(arena: Arena, plan: Plan, say: Callable[[str], None] = lambda sentence: None) -> Outcome:
    """Breaks the arena, lets it recover, and checks. A fault of the services is a violation and raises nothing."""
    rng, history, started = random.Random(plan.seed), History(), time.monotonic()
    logs = Logs(arena)
    arena.worker_link.traffic.forget()
    for keeper in arena.keepers.values():
        keeper.endings.clear()
        keeper.crashes.clear()
    async with grpc.aio.insecure_channel(arena.system.grpc_address) as channel:
        organiser = Organiser(channel=channel, admin_token=arena.system.admin_token)
        theatre = Theatre(arena=arena, organiser=organiser, channel=channel)
        for _ in range(plan.events):
            await organiser.create(open_for=timedelta(hours=1))
        nemesis = Nemesis(theatre, plan.faults, random.Random(rng.random()), faults_a_minute=plan.faults_a_minute)
        raters = [
            Rater(arena.system.http, history, random.Random(rng.random()), _chooser(organiser))
            for _ in range(plan.raters)
        ]
        async with _observed(arena, history, nemesis, say) as samples:
            stop = asyncio.Event()
            loading = asyncio.create_task(load(raters, plan.habits, stop))
            await nemesis.rage(plan.seconds)
            stop.set()
            await loading
            seconds = time.monotonic() - started
            say("recovering …")
            violations = await peace(arena, organiser.events, within=plan.peace_within)
        peace_seconds = time.monotonic() - started - seconds
        records = await Records.read(arena, list(organiser.events))
    violations += check(history, organiser.events, records)
    violations += [
        Violation("a service stops by itself on SIGTERM", f"{name} had to be killed") for name in theatre.overdue_stops
    ]
    violations += [
        Violation("a service runs until it is stopped or killed", ending)
        for keeper in arena.keepers.values()
        for ending in keeper.endings
    ]
    violations += logs.violations(organiser.events)
    return Outcome(
        plan=plan,
        seconds=seconds,
        history=history,
        events=organiser.events,
        deeds=nemesis.deeds,
        theatre=theatre,
        violations=violations,
        peace_seconds=peace_seconds,
        samples=samples,
        logged_errors=logs.errors(),
        crashes=[crash for keeper in arena.keepers.values() for crash in keeper.crashes],
        recorded=_count(records),
    )


def _chooser(organiser: Organiser) -> Callable[[random.Random], Event]:
    """Picks mostly open events. The others refuse ratings, and must do so rightly."""

    def choose(rng: random.Random) -> Event:
        events = list(organiser.events.values())
        if rng.random() < 0.9:
            # The newest events are rated most.
            events = [event for event in events if event.is_open]
        return events[-1 - int(len(events) * rng.random() ** 2)] if events else next(iter(organiser.events.values()))

    return choose


async def peace(arena: Arena, events: dict[int, Event], *, within: float) -> list[Violation]:
    """Waits until every rating is decided and shown. A violation reports what takes longer than `within` seconds."""
    event_ids = list(events)
    violations = []
    try:
        await eventually(lambda: _all_decided(arena, event_ids), within=within)
    except TimeoutError:
        violations.append(Violation("everything is decided in the end", f"not within {within} s"))
    shown: dict[int, object] = {}
    try:
        await eventually(lambda: _all_shown(arena, event_ids, shown), within=within)
    except TimeoutError:
        violations.append(Violation("GET /events shows line_provider's figures in the end", f"not so: {shown}"))
    return violations


async def _all_decided(arena: Arena, event_ids: list[int]) -> bool:
    with contextlib.suppress(OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
        async with arena.score_maker_database() as connection:
            return not await connection.fetchval(
                "SELECT count(*) FROM scores_outbox WHERE event_id = ANY($1)", event_ids
            )
    return False


async def _all_shown(arena: Arena, event_ids: list[int], differing: dict[int, object]) -> bool:
    """Whether GET /events shows each event with line_provider's figures. Puts those that differ into `differing`."""
    differing.clear()
    connection = Connection(arena.system.http)
    try:
        async with arena.line_provider_database() as database:
            rows = await database.fetch("SELECT * FROM events WHERE event_id = ANY($1)", event_ids)
        for row in rows:
            body = (await connection.request("GET", f"/events/{row['event_id']}")).body
            expected = row["score_count"], list(row["histogram"]), row["status"].upper(), False
            shown = body.get("score_count"), body.get("histogram"), body.get("status"), body.get("stale")
            if shown != expected:
                differing[row["event_id"]] = {"shown": shown, "recorded": expected}
    except (OSError, NotSent, ConnectionBroken, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        differing[0] = repr(error)
    finally:
        connection.close()
    return not differing


@contextlib.asynccontextmanager
async def _observed(
    arena: Arena, history: History, nemesis: Nemesis, say: Callable[[str], None]
) -> AsyncIterator[list[Sample]]:
    """Samples the depth of the outbox and the memory of each process, while the database can be reached."""
    samples = [arena.measure(0)]

    async def observe() -> None:
        told = time.monotonic()
        while True:
            with contextlib.suppress(OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
                async with arena.score_maker_database() as connection:
                    while True:
                        depth = await connection.fetchval("SELECT count(*) FROM scores_outbox")
                        samples.append(arena.measure(depth))
                        if time.monotonic() - told > 10:
                            told = time.monotonic()
                            counts, faults = history.counts, nemesis.deeds.done.total()
                            say(f"{counts['requests']} requests, {faults} faults, {depth} in the outbox")
                        await asyncio.sleep(_SAMPLE_SECONDS)
            await asyncio.sleep(_SAMPLE_SECONDS)

    observing = asyncio.create_task(observe())
    try:
        yield samples
    finally:
        observing.cancel()
        await asyncio.wait([observing])
        # The samples illustrate the report; no check depends on them.
        if not observing.cancelled() and (error := observing.exception()):
            say(f"sampling ended early: {error!r}")


class Logs:
    """The logs of all processes since the beginning of the run."""

    def __init__(self, arena: Arena) -> None:
        self._offsets = {process.name: (process.log, _size(process.log)) for process in arena.processes}
        self._workers = [worker.name for worker in arena.workers]

    def violations(self, events: dict[int, Event]) -> list[Violation]:
        return [
            *(
                Violation("reconciliation finds nothing to repair", f"{name}: {line}")
                for name in self._workers
                for line in self._lines(name)
                if (match := _DIVERGENCE.search(line)) and int(match[1]) in events
            ),
            *(
                Violation("transactions never deadlock", f"{name}: {line}")
                for name in self._offsets
                for line in self._lines(name)
                if "deadlock detected" in line
            ),
        ]

    def errors(self) -> Counter[str]:
        """How often each service logged an error."""
        return Counter(
            f"{name}: {match[1]}"
            for name in self._offsets
            for line in self._lines(name)
            if (match := _LOGGED_ERROR.search(line))
        )

    def _lines(self, name: str) -> list[str]:
        log, offset = self._offsets[name]
        with log.open("rb") as file:
            file.seek(offset)
            return file.read().decode(errors="replace").splitlines()


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _count(records: Records) -> Counter[str]:
    counts = Counter(f"{score['state']}" for score in records.scores.values())
    counts.update(f"rejected: {score['reason']}" for score in records.scores.values() if score["reason"])
    counts["final events"] = len(records.final_results)
    return counts
