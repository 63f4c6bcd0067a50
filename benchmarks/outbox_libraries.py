"""How fast outbox libraries drain the same payload from the same PostgreSQL, into a handler that does nothing.

Each library has the batch size and the concurrency at which it was fastest.
"""

import asyncio
import json
import sys
import time
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import asyncpg
import uvloop
from faststream_outbox import OutboxBroker, make_outbox_table
from pgqueuer import AsyncpgDriver, Job, PgQueuer, Queries
from pgqueuer.types import QueueExecutionMode
from sqlalchemy import MetaData
from sqlalchemy.ext.asyncio import create_async_engine

# Rows are inserted in groups of this size; the number of rows must be a multiple of it.
GROUP = 1_000


class Pace:
    """Counts handled rows, from the first one on, and sets `all_handled` at the last one."""

    def __init__(self, rows: int) -> None:
        self._rows = rows
        self._handled = 0
        self._began = 0.0
        self.all_handled = asyncio.Event()

    def handled(self) -> None:
        if not self._handled:
            self._began = time.perf_counter()
        self._handled += 1
        if self._handled == self._rows:
            self.all_handled.set()

    def drained(self) -> float:
        """Ends the measurement: the library has handled and deleted all rows. Returns rows per second."""
        return self._handled / (time.perf_counter() - self._began)


def rating(nth: int) -> dict[str, object]:
    """The payload of one rating: the columns of score_maker's outbox."""
    return {
        "event_id": 1 + nth % 46,
        "rater_id": str(uuid4()),
        "value": 1 + nth % 5,
        "version": 1,
        "accepted_at": datetime.now(UTC).isoformat(),
    }


async def drain_pgqueuer(url: str, rows: int) -> float:
    """Returns rows per second, from the first handled row until the table is empty."""
    connection = await asyncpg.connect(url.replace("+asyncpg", ""))
    driver = AsyncpgDriver(connection)
    queries = Queries(driver)
    await queries.install()
    for _ in range(0, rows, GROUP):
        payloads: list[bytes | None] = [json.dumps(rating(nth)).encode() for nth in range(GROUP)]
        await queries.enqueue(["rate"] * GROUP, payloads, [0] * GROUP)
    pace, app = Pace(rows), PgQueuer(driver)

    async def rate(job: Job) -> None:
        json.loads(job.payload or b"")
        pace.handled()

    app.entrypoint("rate")(rate)
    await app.run(batch_size=GROUP, mode=QueueExecutionMode.drain, dequeue_timeout=timedelta(seconds=1))
    per_second = pace.drained()
    await connection.close()
    return per_second


async def drain_faststream_outbox(url: str, rows: int) -> float:
    """Returns rows per second, from the first handled row until the table is empty."""
    engine = create_async_engine(url, pool_size=20)
    metadata = MetaData()
    table = make_outbox_table(metadata)
    broker = OutboxBroker(engine, outbox_table=table, logger=None)
    pace = Pace(rows)

    async def rate(_rating: dict[str, object]) -> None:
        pace.handled()

    subscribed = broker.subscriber(
        "ratings",
        max_workers=8,
        fetch_batch_size=GROUP,
        terminal_flush_batch_size=100,
        min_fetch_interval=0.01,
        max_fetch_interval=0.1,
    )
    subscribed(rate)
    async with engine.begin() as connection:
        await connection.run_sync(metadata.create_all)
    for _ in range(0, rows, GROUP):
        async with engine.begin() as connection:
            await broker.publish_batch(*(rating(nth) for nth in range(GROUP)), queue="ratings", session=connection)
    await broker.start()
    await pace.all_handled.wait()
    # stop() also deletes the handled rows that are not deleted yet, which is part of the work.
    await broker.stop()
    per_second = pace.drained()
    await engine.dispose()
    return per_second


LIBRARIES: dict[str, Callable[[str, int], Coroutine[Any, Any, float]]] = {
    "pgqueuer": drain_pgqueuer,
    "faststream-outbox": drain_faststream_outbox,
}


if __name__ == "__main__":
    library, database_url, count = sys.argv[1:]
    print(uvloop.run(LIBRARIES[library](database_url, int(count))))
