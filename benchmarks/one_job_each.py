"""The straightforward alternative to the relay: an arq job for each rating, which calls line_provider and records the
verdict.

The relay is compared with it. It is not a saga: a rating lost between Redis and the two databases stays lost.
"""

import asyncio
import sys
import time
from datetime import datetime
from typing import Any
from uuid import UUID

import uvloop
from arq import create_pool
from arq.connections import ArqRedis, RedisSettings
from arq.worker import Worker, func
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from scoreline.line_provider.v1 import scores_pb2, scores_pb2_grpc
from scoreline_common.database import create_engine
from scoreline_common.line_provider_channel import open_channel

_QUEUE = "one-job-each"
_AT_ONCE = 64

_SELECT = text("SELECT event_id, rater_id, value, version, accepted_at FROM scores_outbox ORDER BY id")
_CONFIRM = text("""
    WITH sent AS (
        DELETE FROM scores_outbox WHERE event_id = :event_id AND rater_id = :rater_id AND version = :version
    )
    UPDATE scores
    SET state = 'confirmed', confirmed_value = value, confirmed_version = version, settled_at = now()
    WHERE event_id = :event_id AND rater_id = :rater_id AND version = :version
""")


async def enqueue_all(database_url: str, queue: ArqRedis) -> int:
    """Enqueues a job for each message in score_maker's outbox; returns how many."""
    engine = create_engine(database_url, pool_size=1)
    async with engine.connect() as connection:
        messages = (await connection.execute(_SELECT)).all()
    await engine.dispose()
    for start in range(0, len(messages), _AT_ONCE):
        await asyncio.gather(*(queue.enqueue_job("rate", *row) for row in messages[start : start + _AT_ONCE]))
    return len(messages)


async def work_off(database_url: str, queue: ArqRedis, line_provider: str, token: str) -> None:
    """Runs all queued jobs, as many concurrently as there are database connections."""
    engine = create_engine(database_url, pool_size=_AT_ONCE)
    async with open_channel(line_provider) as channel:
        worker = Worker(
            functions=[func(rate, keep_result=0)],
            redis_pool=queue,
            queue_name=_QUEUE,
            burst=True,
            max_jobs=_AT_ONCE,
            poll_delay=0.01,
            handle_signals=False,
            log_results=False,
            ctx={
                "engine": engine,
                "scores": scores_pb2_grpc.ScoreServiceStub(channel),
                "metadata": (("authorization", f"Bearer {token}"),),
            },
        )
        await worker.async_run()
    await engine.dispose()


async def rate(
    ctx: dict[str, Any], event_id: int, rater_id: UUID, value: int | None, version: int, accepted_at: datetime
) -> None:
    """The job: applies one rating at line_provider, then confirms it in score_maker's database."""
    change = scores_pb2.ScoreChange(event_id=event_id, rater_id=rater_id.bytes, value=value, version=version)
    change.accepted_at.FromDatetime(accepted_at)
    request = scores_pb2.UpdateEventStatusByScoreRequest(change=change)
    await ctx["scores"].UpdateEventStatusByScore(request, metadata=ctx["metadata"], timeout=30)
    engine: AsyncEngine = ctx["engine"]
    async with engine.begin() as connection:
        await connection.execute(_CONFIRM, {"event_id": event_id, "rater_id": rater_id, "version": version})


async def drain(database_url: str, redis_url: str, line_provider: str, token: str) -> float:
    """Returns ratings per second, without the time for enqueueing."""
    queue = await create_pool(RedisSettings.from_dsn(redis_url), default_queue_name=_QUEUE)
    jobs = await enqueue_all(database_url, queue)
    began = time.perf_counter()
    await work_off(database_url, queue, line_provider, token)
    ended = time.perf_counter()
    await queue.aclose()
    return jobs / (ended - began)


if __name__ == "__main__":
    print(uvloop.run(drain(*sys.argv[1:])))
