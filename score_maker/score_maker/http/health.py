"""/healthz: the process lives. /readyz: it can take ratings, which needs its database and nothing else. /metrics."""

import asyncio
from typing import Literal

from fastapi import APIRouter, Response, status
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from pydantic import BaseModel
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from score_maker import metrics
from score_maker.composition import AppState, State
from score_maker.storage.redis import UNREACHABLE
from scoreline_common.database import autocommit

router = APIRouter(tags=["health"])

CHECK_SECONDS = 2

Check = Literal["ok", "away"]


class Health(BaseModel):
    status: Literal["alive"] = "alive"


class Readiness(BaseModel):
    status: Literal["ready", "not ready"]
    database: Check
    line_provider: Check
    redis: Check


@router.get("/healthz")
async def healthz() -> Health:
    """The process answers."""
    return Health()


@router.get("/readyz", responses={status.HTTP_503_SERVICE_UNAVAILABLE: {"model": Readiness}})
async def readyz(state: State, response: Response) -> Readiness:
    """Ratings can be taken. Without line_provider or Redis they can too, and what they do without is reported."""
    result = await readiness(state)
    if result.database == "away":
        response.status_code = status.HTTP_503_SERVICE_UNAVAILABLE
    return result


@router.get("/metrics", include_in_schema=False)
async def tell_metrics() -> Response:
    """For Prometheus: of all processes that serve on this port."""
    return Response(generate_latest(metrics.registry()), media_type=CONTENT_TYPE_LATEST)


async def readiness(state: AppState) -> Readiness:
    """Whether this process can take ratings, and what it does without."""
    database, redis = await asyncio.gather(_database(state), _redis(state))
    return Readiness(
        status="ready" if database == "ok" else "not ready",
        database=database,
        line_provider="away" if state.catalog.is_stale else "ok",
        redis=redis,
    )


async def _database(state: AppState) -> Check:
    try:
        async with asyncio.timeout(CHECK_SECONDS), autocommit(state.engine) as connection:
            await connection.execute(text("SELECT 1"))
    except (SQLAlchemyError, OSError, TimeoutError):
        return "away"
    return "ok"


async def _redis(state: AppState) -> Check:
    try:
        async with asyncio.timeout(CHECK_SECONDS):
            await state.redis.ping()
    except UNREACHABLE:
        return "away"
    return "ok"
