"""The cost of ratings, in counts that do not depend on the machine: `make costs`.

The servers themselves count statements, durable commits and bytes of the write-ahead log (PostgreSQL), commands (Redis)
and calls (line_provider), over a thousand requests or more. Which requests meet in a group, and which ratings in a
batch, does depend on the machine; so where they are grouped, the part that groups them gets all of them at once.

The baseline is benchmarks/costs.json. A count above the baseline is a regression, and makes the command fail.
`make costs ARGS=--write` writes a new baseline.
"""

import argparse
import asyncio
import itertools
import json
import re
import secrets
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import uvloop
from httpx import AsyncClient

from arq_worker.circuit_breaker import CircuitBreaker
from arq_worker.line_provider_client import LineProviderClient
from arq_worker.relay import Relay
from benchmarks.drain import open_events
from benchmarks.process_stats import total
from devstack.addresses import Address
from devstack.environment import MANY_RATERS
from devstack.postgres import Postgres, binaries
from devstack.statement_log import StatementLog
from devstack.system import System
from score_maker.identity.anonymous import RaterTokens, new_rater_id
from score_maker.ratings.accept import Submission
from score_maker.ratings.group_commit import GroupCommit
from score_maker.storage.redis import open_redis
from scoreline_common.background import BackgroundTasks
from scoreline_common.database import create_engine
from scoreline_common.line_provider_channel import open_channel

THOUSAND = 1_000
BASELINE = Path(__file__).with_name("costs.json")

# Statements whose number does not depend on the load: periodic ones of each process, and the first of a connection.
_PERIODIC = re.compile(r"\bthroughput\b|SELECT FROM events LIMIT 1|SELECT 1$|\bjit\b|\btypeinfo_tree\b")
# Index page splits and page pruning vary a little from run to run.
_WAL_ALLOWANCE = 1.05
_WAL_LINE = re.compile(r"^(?P<record>\S+)\s+(?P<count>\d+)\s+\(.*?\)\s+(?P<bytes>\d+)\s+\(", re.MULTILINE)

_BYTES = "bytes of WAL"

Costs = dict[str, float]


@dataclass(frozen=True, slots=True)
class Database:
    name: str
    postgres: Postgres
    statements: StatementLog

    async def counted(self, since: str) -> Costs:
        """Counts since that position in the write-ahead log, without full-page images, which depend on checkpoints."""
        wal = await asyncio.to_thread(_wal, self.postgres.folder, since, await self.position())
        statements = [each for each in self.statements.statements() if each.role not in {"", "postgres"}]
        return {
            f"{self.name}: statements": sum(1 for each in statements if not _PERIODIC.search(each.text)),
            f"{self.name}: commits": sum(count for record, (count, _) in wal.items() if record == "Transaction/COMMIT"),
            f"{self.name}: {_BYTES}": sum(size for _, size in wal.values()),
        }

    async def position(self) -> str:
        """The end of the flushed write-ahead log."""
        connection = await self.postgres.connect()
        try:
            return str(await connection.fetchval("SELECT pg_current_wal_flush_lsn()::text"))
        finally:
            await connection.close()


def _wal(folder: Path, begin: str, end: str) -> dict[str, tuple[int, int]]:
    """The number and the total bytes of the records between two positions, by their kind."""
    if begin == end:
        return {}
    command = [
        str(binaries() / "pg_waldump"),
        "--stats=record",
        f"--path={folder / 'pg_wal'}",
        f"--start={begin}",
        f"--end={end}",
    ]
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return {
        line["record"]: (int(line["count"]), int(line["bytes"]))
        for line in _WAL_LINE.finditer(output)
        if line["record"] != "Total" and not line["record"].startswith(("XLOG/", "Standby/"))
    }


class Counters:
    """The system, with counters at each of its servers. `costs` has the counts by the name of the measured work."""

    def __init__(self, system: System, databases: list[Database], line_provider_metrics: Address) -> None:
        self._databases = databases
        self._metrics = line_provider_metrics
        self._redis = open_redis(system.valkey.url, timeout_seconds=5)
        self.costs: dict[str, Costs] = {}

    async def measure(self, name: str, work: Callable[[], Awaitable[object]], *, times: int) -> None:
        """Counts what `work` costs, and records it as the cost of each of the `times` that it does what `name` says."""
        positions = {database.name: await database.position() for database in self._databases}
        for database in self._databases:
            database.statements.clear()
        commands, calls = await self._redis_commands(), await self._calls()
        await work()
        costs: Costs = {
            # Redis counts the commands inside scripts too. The INFO that reads the counter is subtracted.
            "Redis commands": await self._redis_commands() - commands - 1,
            "RPCs": await self._calls() - calls,
        }
        for database in self._databases:
            costs |= await database.counted(positions[database.name])
        self.costs[name] = {
            counter: round(count / times, 0 if counter.endswith(_BYTES) else 1) for counter, count in costs.items()
        }

    async def _redis_commands(self) -> int:
        return int((await self._redis.info("stats"))["total_commands_processed"])

    async def _calls(self) -> int:
        return await asyncio.to_thread(total, self._metrics, "scoreline_rpcs_total")


async def count(data: Path) -> dict[str, Costs]:
    """Measures what each use of the system costs, by counter."""
    secret, metrics = secrets.token_hex(32), Address.free()
    settings = {**MANY_RATERS, "SCORE_MAKER_SECRET_KEY": secret, "LINE_PROVIDER_METRICS_PORT": str(metrics.port)}
    async with AsyncExitStack() as stack:
        system = await stack.enter_async_context(System(data, settings=settings))
        await system.arq_worker.stop()
        databases = []
        servers = {"score_maker": system.score_maker_postgres, "line_provider": system.line_provider_postgres}
        for name, postgres in servers.items():
            await postgres.alter_system({"autovacuum": "off"})
            statements = await stack.enter_async_context(StatementLog(postgres))
            databases.append(Database(name, postgres, statements))
        counters = Counters(system, databases, metrics)
        events = await _count_requests(counters, system, RaterTokens(secret))
        await system.score_maker.stop()
        await _count_groups(counters, system, events)
        return counters.costs


async def _count_requests(counters: Counters, system: System, raters: RaterTokens) -> list[int]:
    """Measures requests that come one after the other. Returns the events that can be rated."""

    def new_rater() -> dict[str, str]:
        return {"Authorization": f"Bearer {raters.mint().token}"}

    async with AsyncClient(base_url=system.http_url) as client:
        events = await asyncio.to_thread(open_events, system)
        known = new_rater()

        async def rate(ratings: int = THOUSAND) -> None:
            for event_id in itertools.islice(itertools.cycle(events), ratings):
                rated = await client.post(f"/events/{event_id}/score", json={"score": 4}, headers=new_rater())
                rated.raise_for_status()

        async def read(path: str, headers: dict[str, str], times: int = THOUSAND) -> None:
            for _ in range(times):
                (await client.get(path, headers=headers)).raise_for_status()

        # The first requests fill caches, which is not a cost of each rating.
        await rate(10)
        await counters.measure("a rating that comes alone", rate, times=THOUSAND)
        (await client.post(f"/events/{events[0]}/score", json={"score": 5}, headers=known)).raise_for_status()
        for name, path, headers in (
            ("a list of events, for a reader who never rated", "/events", {}),
            ("a list of events, with the reader's scores", "/events", known),
            ("an event, for a reader who never rated", f"/events/{events[0]}", {}),
            ("a score", f"/events/{events[0]}/score", known),
        ):
            await read(path, headers, 10)
            await counters.measure(name, partial(read, path, headers), times=THOUSAND)
    return events


async def _count_groups(counters: Counters, system: System, events: Sequence[int]) -> None:
    """Measures a group commit, and batches that are relayed and settled."""
    engine = create_engine(system.score_maker_app_database_url, pool_size=2)
    worker_engine = create_engine(system.arq_worker_database_url, pool_size=2)
    channel = open_channel(system.grpc_address)
    deadline = datetime.now(UTC) + timedelta(days=1)
    group_commit = GroupCommit(engine)
    async with (
        BackgroundTasks() as background,
        LineProviderClient(channel, system.worker_token, timedelta(seconds=30)) as line_provider,
    ):
        background.start("group-commit", group_commit.run())
        breaker = CircuitBreaker(line_provider.is_serving)
        relay = Relay(worker_engine, line_provider, breaker, batch_size=THOUSAND, lease=timedelta(minutes=1))

        async def accept(ratings: int = THOUSAND) -> None:
            these = itertools.islice(itertools.cycle(events), ratings)
            await asyncio.gather(
                *(
                    group_commit.submit(Submission(event_id=event, rater_id=new_rater_id(), value=4, deadline=deadline))
                    for event in these
                )
            )

        await accept(10)
        await counters.measure("a group of 1,000 ratings", accept, times=1)
        await relay.drain()
        await accept(10 * THOUSAND)
        await counters.measure("a batch of 1,000 ratings, relayed and settled", relay.drain, times=10)
    await engine.dispose()
    await worker_engine.dispose()


def regressions(costs: Mapping[str, Costs], baseline: Mapping[str, Costs]) -> list[str]:
    """One line for each count that is above the baseline."""
    return [
        f"{name}: {cost:,.10g} {counter}, not {baseline[name][counter]:,.10g}"
        for name, counters in costs.items()
        for counter, cost in counters.items()
        if cost > baseline[name][counter] * (_WAL_ALLOWANCE if counter.endswith(_BYTES) else 1)
    ]


def _print(costs: Mapping[str, Costs]) -> None:
    for name, counters in costs.items():
        print(name)
        for counter, cost in counters.items():
            if cost:
                print(f"{cost:>12,.10g} {counter}")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.costs", description=__doc__)
    parser.add_argument("--write", action="store_true", help="write the counts as the new baseline")
    arguments = parser.parse_args()
    data = Path(tempfile.mkdtemp(prefix="scoreline-costs-"))
    try:
        costs = uvloop.run(count(data))
    finally:
        shutil.rmtree(data)
    _print(costs)
    if arguments.write:
        BASELINE.write_text(json.dumps(costs, indent=2) + "\n")
    elif dearer := regressions(costs, json.loads(BASELINE.read_text())):
        sys.exit("\nThese counts are above the baseline in benchmarks/costs.json:\n" + "\n".join(dearer))


if __name__ == "__main__":
    main()
