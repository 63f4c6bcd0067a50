"""The sabotages, each with the faults that expose it and the promises that it breaks."""

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import grpc
from sqlalchemy.engine import make_url

from scoreline.line_provider.v1 import scores_pb2
from scoreline.line_provider.v1.scores_pb2_grpc import ScoreServiceStub
from tests.support.waiting import eventually
from tests.torture import faults
from tests.torture.arena import Arena, through
from tests.torture.checker import Records, check
from tests.torture.events import Event, Organiser, now
from tests.torture.faults import Inflict, fault_of
from tests.torture.history import History, Violation
from tests.torture.link import Link, Moment
from tests.torture.raters import Habits, Rater
from tests.torture.run import Logs, Plan, peace, run
from tests.torture.sabotaged.sitecustomize import NAME, SABOTAGES, SAID

_SEED = 5
_SECONDS = 3
_PEACE_WITHIN_SECONDS = 20

Scenario = Callable[[Arena], Awaitable[list[Violation]]]


@dataclass(frozen=True, slots=True)
class Exposure:
    """A protection, the scenario that shows whether it is gone, and promises of which at least one is then broken."""

    sabotage: str
    scenario: Scenario
    broken: frozenset[str]

    def __str__(self) -> str:
        return self.sabotage


@asynccontextmanager
async def sabotaged(arena: Arena, sabotage: str) -> AsyncIterator[None]:
    """The arena without that protection. Raises if a service does not start, or does not report that it is gone."""
    service, _ = SABOTAGES[sabotage]
    processes = {
        "line-provider": (arena.line_provider,),
        "score-maker": (arena.score_maker,),
        "arq-worker": arena.workers,
    }

    async def is_gone() -> bool:
        return all(f"{SAID}{sabotage}" in process.output() for process in processes[service])

    arena.settings |= {NAME: sabotage, "PYTHONPATH": str(Path(__file__).with_name("sabotaged"))}
    try:
        await asyncio.gather(*(arena.restart(process) for process in processes[service]))
        await eventually(is_gone, within=90)
        yield
    finally:
        del arena.settings[NAME], arena.settings["PYTHONPATH"]
        await asyncio.gather(*(arena.restart(process) for process in processes[service]))


def _under(*inflicts: Inflict, habits: Habits | None = None) -> Scenario:
    """A run with only these faults."""

    async def scenario(arena: Arena) -> list[Violation]:
        plan = Plan(
            seed=_SEED,
            seconds=_SECONDS,
            raters=60,
            events=12,
            habits=habits or Habits(),
            faults=[fault_of(inflict) for inflict in inflicts],
            peace_within=_PEACE_WITHIN_SECONDS,
        )
        return (await run(arena, plan)).violations

    return scenario


async def worker_outlives_its_lease(arena: Arena) -> list[Violation]:
    """One worker receives the verdict that a rating is too late, and cannot reach its database until its lease has
    expired. The deadline moves on, and another worker has the rating applied. Then both settle by their verdicts."""
    history, logs = History(), Logs(arena)
    rater = Rater(arena.system.http, history, random.Random(_SEED), lambda _: event)
    async with AsyncExitStack() as stack:
        channel = await stack.enter_async_context(grpc.aio.insecure_channel(arena.system.grpc_address))
        organiser = Organiser(channel=channel, admin_token=arena.system.admin_token)
        others = await stack.enter_async_context(AsyncExitStack())
        for worker in arena.workers:
            await others.enter_async_context(arena.keepers[worker.name].down())
            await worker.stop()
        url = make_url(arena.system.arq_worker_database_url)
        database_link = await stack.enter_async_context(Link(Path(str(url.query["host"])) / ".s.PGSQL.5432"))
        slow_worker = arena.system.another_worker(
            "slow_worker", {"ARQ_WORKER_DATABASE_URL": through(database_link, url)}
        )

        event = await organiser.create(open_for=timedelta(hours=1))
        await rater.rate(event, 4)
        (told,) = history.told.values()
        await organiser.move_deadline(event, told.submissions[1].accepted_at - timedelta(milliseconds=1))

        await slow_worker.spawn()
        stack.push_async_callback(slow_worker.stop)
        async with arena.worker_link.caught(Moment.REPLY) as rejected:
            kept_away = await stack.enter_async_context(AsyncExitStack())
            await kept_away.enter_async_context(database_link.held())
            await rejected.let_go()
            await organiser.move_deadline(event, now() + timedelta(hours=1))
            await others.aclose()
            # The lease of the slow worker has expired once another worker has claimed the rating.
            async with arena.worker_link.caught(Moment.REPLY) as applied:
                await kept_away.aclose()
                await slow_worker.stop()
                await applied.let_go()
        violations = await peace(arena, organiser.events, within=_PEACE_WITHIN_SECONDS)
        rater.close()
    records = await Records.read(arena, list(organiser.events))
    return [*violations, *check(history, organiser.events, records), *logs.violations(organiser.events)]


async def batches_name_their_events_crosswise(arena: Arena) -> list[Violation]:
    """A session locks the middle one of three events, and two batches wait for it that name the other two first and
    last, in opposite order. If batches locked their events in the order in which they name them, each would then hold
    the lock that the other waits for."""
    history, logs = History(), Logs(arena)
    chosen: list[Event] = []
    rater = Rater(arena.system.http, history, random.Random(_SEED), lambda _: chosen[0])
    async with AsyncExitStack() as stack:
        stack.callback(rater.close)
        channel = await stack.enter_async_context(grpc.aio.insecure_channel(arena.system.grpc_address))
        organiser = Organiser(channel=channel, admin_token=arena.system.admin_token)
        chosen += [await organiser.create(open_for=timedelta(hours=1)) for _ in range(3)]
        for event in chosen:
            await rater.rate(event, 4)
        violations = await peace(arena, organiser.events, within=_PEACE_WITHIN_SECONDS)
        first, middle, last = (_told_change(history, event) for event in chosen)
        connection = await arena.connect(arena.system.line_provider_app_database_url)
        try:
            await connection.execute(f"BEGIN; SELECT FROM events WHERE event_id = {middle.event_id} FOR UPDATE")
            crosswise = ([first, middle, last], [last, middle, first])
            sending = asyncio.gather(*(_send(arena, channel, batch) for batch in crosswise), return_exceptions=True)
            await faults.until_waiting(connection, len(crosswise))
        finally:
            connection.terminate()
        refused = [answer for answer in await sending if isinstance(answer, BaseException)]
        violations += [Violation("a batch that can be applied is answered", str(error)) for error in refused]
        violations += await peace(arena, organiser.events, within=_PEACE_WITHIN_SECONDS)
    records = await Records.read(arena, list(organiser.events))
    return [*violations, *check(history, organiser.events, records), *logs.violations(organiser.events)]


def _told_change(history: History, event: Event) -> scores_pb2.ScoreChange:
    """The event's only rating, as it was acknowledged to its rater."""
    (((_, rater_id), told),) = [(key, told) for key, told in history.told.items() if key[0] == event.event_id]
    change = scores_pb2.ScoreChange(event_id=event.event_id, rater_id=rater_id.bytes, value=4, version=1)
    change.accepted_at.FromDatetime(told.submissions[1].accepted_at)
    return change


async def _send(arena: Arena, channel: grpc.aio.Channel, changes: list[scores_pb2.ScoreChange]) -> None:
    metadata = (("authorization", f"Bearer {arena.system.worker_token}"),)
    request = scores_pb2.ApplyScoresRequest(changes=changes)
    await ScoreServiceStub(channel).ApplyScores(request, metadata=metadata, timeout=_PEACE_WITHIN_SECONDS)


_AGREEMENT = frozenset(
    {
        "the confirmed versions are those that line_provider has applied",
        "an event's figures are those of its confirmed ratings",
        "an event's figures are those of its applied ratings",
        "reconciliation finds nothing to repair",
    }
)

EXPOSURES = (
    Exposure("idempotent_apply", _under(faults.repeat_messages, faults.drop_replies), _AGREEMENT),
    Exposure(
        "one_transaction",
        _under(faults.kill_score_maker_while_it_writes),
        frozenset({"every rating is decided"}),
    ),
    Exposure(
        "settling_by_version",
        _under(faults.slow_worker_link, habits=Habits(second_thoughts=0.9, pause=0.1)),
        frozenset({"a score is what its rater submitted", "a confirmed score is what its rater submitted"}),
    ),
    Exposure("lease_token", worker_outlives_its_lease, _AGREEMENT),
    Exposure(
        "order_of_locks",
        batches_name_their_events_crosswise,
        frozenset({"transactions never deadlock"}),
    ),
    Exposure(
        "lock_before_judging",
        _under(faults.cancel_event_under_ratings),
        frozenset({"a cancelled event accepts no ratings"}),
    ),
)
