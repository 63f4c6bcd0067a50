"""/healthz: the event loop runs. /readyz: this process can take ratings. /metrics: for Prometheus."""

import asyncio
from typing import Literal

from fastapi import APIRouter, Response, status
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from pydantic import BaseModel, Field
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from score_maker.http import metrics
from score_maker.http.dependencies import Services
from score_maker.storage.redis import UNREACHABLE
from scoreline_common.database import autocommit

router = APIRouter(tags=["health"])

CHECK_SECONDS = 2

Check = Literal["ok", "unreachable"]


class Health(BaseModel):
    status: Literal["alive"] = "alive"


class Readiness(BaseModel):
    status: Literal["ready", "not ready"]
    database: Check
    line_provider: Check
    redis: Check
    ended_task: str | None = Field(
        description="The background task that ended by itself, for which this process is about to stop; null normally"
    )


@router.get("/healthz")
async def healthz() -> Health:
    """The event loop of this process runs. A process whose loop hangs does not answer, and ends itself."""
    return Health()


@router.get("/readyz", responses={status.HTTP_503_SERVICE_UNAVAILABLE: {"model": Readiness}})
async def readyz(services: Services, response: Response) -> Readiness:
    """Ratings can be taken: the database answers and all background tasks run.

    line_provider and Redis are reported, but ratings can be taken without them.
    """
    result = await readiness(services)
    if result.status == "not ready":
        response.status_code = status.HTTP_503_SERVICE_UNAVAILABLE
    return result


@router.get("/metrics", include_in_schema=False)
async def show_metrics() -> Response:
    """The metrics of all processes that serve on this port."""
    return Response(generate_latest(metrics.registry()), media_type=CONTENT_TYPE_LATEST)


async def readiness(services: Services) -> Readiness:
    """Returns whether this process can take ratings, and what it has to do without."""
    database, redis = await asyncio.gather(_database(services), _redis(services))
    ended_task = services.background.failed_task
    return Readiness(
        status="ready" if database == "ok" and ended_task is None else "not ready",
        database=database,
        line_provider="unreachable" if services.catalog.is_stale else "ok",
        redis=redis,
        ended_task=ended_task,
    )


async def _database(services: Services) -> Check:
    try:
        async with asyncio.timeout(CHECK_SECONDS), autocommit(services.engine) as connection:
            await connection.execute(text("SELECT 1"))
    except (SQLAlchemyError, OSError, TimeoutError):
        return "unreachable"
    return "ok"


async def _redis(services: Services) -> Check:
    try:
        async with asyncio.timeout(CHECK_SECONDS):
            await services.redis.ping()
    except UNREACHABLE:
        return "unreachable"
    return "ok"
