"""What ratings cost, in counts that do not depend on the machine: `make costs`.

Statements, durable commits and bytes of the write-ahead log of each PostgreSQL, commands of Redis and calls of
line_provider, each counted by the server that is asked, over a thousand requests or more. How requests happen to meet
in a group, and ratings in a batch, depends on the machine after all: there the part that groups them is given them all
at once.

The baseline is benchmarks/costs.json: what costs more is a regression, and fails. `make costs ARGS=--write` makes what
was counted the baseline.
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
from benchmarks.looking import total
from devstack.addresses import Address
from devstack.postgres import Postgres, binaries
from devstack.statement_log import StatementLog
from devstack.system import MANY_RATERS, System
from score_maker.identity.anonymous import RaterTokens, new_rater_id
from score_maker.ratings.accept import Submission
from score_maker.ratings.group_commit import GroupCommit
from score_maker.storage.redis import open_redis
from scoreline_common.database import create_engine
from scoreline_common.line_provider_channel import open_channel

THOUSAND = 1_000
BASELINE = Path(__file__).with_name("costs.json")

# What each process does from time to time, and what a connection begins with, however much there is to do meanwhile.
_PERIODIC = re.compile(r"\bthroughput\b|SELECT FROM events LIMIT 1|SELECT 1$|\bjit\b|\btypeinfo_tree\b")
# Where a page of an index splits, and which pages are tidied up on the way, is never quite the same.
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
        """Since that place in the write-ahead log; images of whole pages, which follow a checkpoint, are left out."""
        wal = await asyncio.to_thread(_wal, self.postgres.folder, since, await self.place())
        statements = [each for each in self.statements.statements() if each.role not in {"", "postgres"}]
        return {
            f"{self.name}: statements": sum(1 for each in statements if not _PERIODIC.search(each.text)),
            f"{self.name}: commits": sum(count for record, (count, _) in wal.items() if record == "Transaction/COMMIT"),
            f"{self.name}: {_BYTES}": sum(size for _, size in wal.values()),
        }

    async def place(self) -> str:
        connection = await self.postgres.connect()
        try:
            return str(await connection.fetchval("SELECT pg_current_wal_flush_lsn()::text"))
        finally:
            await connection.close()


def _wal(folder: Path, begin: str, end: str) -> dict[str, tuple[int, int]]:
    """How many records there are of each kind, and the bytes that they come to."""
    if begin == end:
        return {}
    command = [
        str(binaries() / "pg_waldump"),
        "--stats=record",
        f"--path={folder / 'pg_wal'}",
        f"--start={begin}",
        f"--end={end}",
    ]
    told = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return {
        line["record"]: (int(line["count"]), int(line["bytes"]))
        for line in _WAL_LINE.finditer(told)
        if line["record"] != "Total" and not line["record"].startswith(("XLOG/", "Standby/"))
    }


class Accounts:
    """The system, with everything counted that its servers are asked for."""

    def __init__(self, system: System, databases: list[Database], line_provider_metrics: Address) -> None:
        self._databases = databases
        self._metrics = line_provider_metrics
        self._redis = open_redis(system.valkey.url, timeout_seconds=5)
        self.costs: dict[str, Costs] = {}

    async def enter(self, name: str, work: Callable[[], Awaitable[object]], *, times: int) -> None:
        """Counts what the work costs, which is so many times what is named."""
        places = {database.name: await database.place() for database in self._databases}
        for database in self._databases:
            database.statements.forget()
        commands, calls = await self._redis_commands(), await self._calls()
        await work()
        costs: Costs = {
            # Those of scripts are among them; this question is not.
            "Redis commands": await self._redis_commands() - commands - 1,
            "RPCs": await self._calls() - calls,
        }
        for database in self._databases:
            costs |= await database.counted(places[database.name])
        self.costs[name] = {
            counter: round(count / times, 0 if counter.endswith(_BYTES) else 1) for counter, count in costs.items()
        }

    async def _redis_commands(self) -> int:
        return int((await self._redis.info("stats"))["total_commands_processed"])

    async def _calls(self) -> int:
        return await asyncio.to_thread(total, self._metrics, "scoreline_rpcs_total")


async def count(data: Path) -> dict[str, Costs]:
    """What each way of using the system costs, by counter."""
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
        accounts = Accounts(system, databases, metrics)
        events = await _count_requests(accounts, system, RaterTokens(secret))
        await system.score_maker.stop()
        await _count_groups(accounts, system, events)
        return accounts.costs


async def _count_requests(accounts: Accounts, system: System, raters: RaterTokens) -> list[int]:
    """Requests that come one after the other; answers with the events that can be rated."""

    def somebody() -> dict[str, str]:
        return {"Authorization": f"Bearer {raters.mint().token}"}

    async with AsyncClient(base_url=system.http_url) as client:
        events = await asyncio.to_thread(open_events, system)
        known = somebody()

        async def rate(ratings: int = THOUSAND) -> None:
            for event_id in itertools.islice(itertools.cycle(events), ratings):
                rated = await client.post(f"/events/{event_id}/score", json={"score": 4}, headers=somebody())
                rated.raise_for_status()

        async def read(path: str, headers: dict[str, str], times: int = THOUSAND) -> None:
            for _ in range(times):
                (await client.get(path, headers=headers)).raise_for_status()

        # What is asked for the first time only is no cost of a rating.
        await rate(10)
        await accounts.enter("a rating that comes alone", rate, times=THOUSAND)
        (await client.post(f"/events/{events[0]}/score", json={"score": 5}, headers=known)).raise_for_status()
        for name, path, headers in (
            ("a list of events, for a reader who never rated", "/events", {}),
            ("a list of events, with the reader's scores", "/events", known),
            ("an event, for a reader who never rated", f"/events/{events[0]}", {}),
            ("a score", f"/events/{events[0]}/score", known),
        ):
            await read(path, headers, 10)
            await accounts.enter(name, partial(read, path, headers), times=THOUSAND)
    return events


async def _count_groups(accounts: Accounts, system: System, events: Sequence[int]) -> None:
    """A group of ratings that is committed, and batches that are relayed and settled."""
    engine = create_engine(system.score_maker_app_database_url, pool_size=2)
    worker_engine = create_engine(system.arq_worker_database_url, pool_size=2)
    channel = open_channel(system.grpc_address)
    deadline = datetime.now(UTC) + timedelta(days=1)
    async with (
        GroupCommit(engine) as group_commit,
        LineProviderClient(channel, system.worker_token, timedelta(seconds=30)) as line_provider,
    ):
        breaker = CircuitBreaker(line_provider.is_serving)
        relay = Relay(worker_engine, line_provider, breaker, batch_size=THOUSAND, lease=timedelta(minutes=1))

        async def take(ratings: int = THOUSAND) -> None:
            these = itertools.islice(itertools.cycle(events), ratings)
            await asyncio.gather(
                *(group_commit.submit(Submission(event, new_rater_id(), 4, deadline)) for event in these)
            )

        await take(10)
        await accounts.enter("a group of 1,000 ratings", take, times=1)
        await relay.drain()
        await take(10 * THOUSAND)
        await accounts.enter("a batch of 1,000 ratings, relayed and settled", relay.drain, times=10)
    await engine.dispose()
    await worker_engine.dispose()


def regressions(costs: Mapping[str, Costs], baseline: Mapping[str, Costs]) -> list[str]:
    """Each a sentence: what costs more than it did."""
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
    parser.add_argument("--write", action="store_true", help="make what is counted the baseline")
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
        sys.exit("\nThis costs more than benchmarks/costs.json allows:\n" + "\n".join(dearer))


if __name__ == "__main__":
    main()
