"""GET /ops/saga, GET /ops/outbox and POST /ops/outbox/retry: the state of the saga, and what operators can do."""

import asyncio
from datetime import datetime, timedelta
from typing import Annotated

from fastapi import APIRouter, Query, Response
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field
from pydantic.config import JsonDict

from score_maker.http.dependencies import Services
from score_maker.http.health import Readiness, readiness
from score_maker.http.json_numbers import whole
from score_maker.http.ops.auth import OPERATOR
from score_maker.http.problems.openapi import responses
from score_maker.http.problems.types import (
    CONTENT_TOO_LARGE,
    INVALID_REQUEST,
    MALFORMED_JSON,
    NOT_JSON,
    OPERATOR_TOKEN_REQUIRED,
    TOO_MANY_REQUESTS,
    UNAVAILABLE,
)
from score_maker.ratings.domain import Verdict
from score_maker.saga import outbox
from score_maker.saga.health import LineProviderHealth, WorkerHealth, line_provider_health, worker_health
from score_maker.saga.monitor import SagaFigures
from score_maker.saga.outbox import Overview, StuckMessage
from score_maker.saga.reconciliation import Pass
from score_maker.saga.throughput import Throughput
from scoreline_common.database import autocommit

router = APIRouter(prefix="/ops", tags=["operations"], dependencies=[OPERATOR])

# All divergent events are counted; this many are listed.
LISTED_EVENTS = 100
NO_STORE = {"Cache-Control": "no-store"}

Age = Annotated[float, Field(ge=0, examples=[0.4])]


class OutboxFigures(BaseModel):
    """Submissions that line_provider has not decided yet. `messages` is the sum of `due`, `claimed` and `postponed`."""

    messages: int
    due: int = Field(description="Any worker may claim them now")
    claimed: int = Field(description="A worker has claimed them, and line_provider may be deciding on them")
    postponed: int = Field(description="Their next attempt is later")
    stuck: int = Field(description="Those with at least one failed attempt: `GET /ops/outbox` says why")
    oldest_seconds: Age | None = Field(
        description="Age of the oldest one, since it was accepted; null if there are none"
    )

    @classmethod
    def of(cls, overview: Overview) -> "OutboxFigures":
        return cls(
            messages=overview.messages,
            due=overview.due,
            claimed=overview.claimed,
            postponed=overview.postponed,
            stuck=overview.stuck,
            oldest_seconds=_seconds(overview.oldest_age) if overview.oldest_age is not None else None,
        )


class VerdictFigures(BaseModel):
    """How many submissions got this verdict."""

    verdict: Verdict
    reason: str | None = Field(description="Why they were rejected", examples=["deadline_passed"])
    last_minute: int
    last_hour: int


class ThroughputFigures(BaseModel):
    """Counted by all processes of score_maker and arq_worker, and one or two seconds old.

    The counts of the last second of a process that was killed are missing.
    """

    accepted_per_second: float = Field(description="Ratings and withdrawals by raters, over the last minute")
    settled_per_second: float = Field(description="Submissions that line_provider decided, over the last minute")
    verdicts: list[VerdictFigures]

    @classmethod
    def of(cls, throughput: Throughput) -> "ThroughputFigures":
        return cls(
            accepted_per_second=throughput.accepted_per_second,
            settled_per_second=throughput.settled_per_second,
            verdicts=[
                VerdictFigures(
                    verdict=Verdict(count.outcome),
                    reason=count.reason,
                    last_minute=count.last_minute,
                    last_hour=count.last_hour,
                )
                for count in throughput.verdicts
            ],
        )


class ReconciliationFigures(BaseModel):
    """What the last pass of reconciliation found."""

    finished_at: datetime
    seconds_ago: Age
    events: int = Field(description="Events of line_provider that were compared")
    divergent: int = Field(description="How many of them differed at its end; they are being repaired")
    divergent_event_ids: list[int] = Field(description=f"The first {LISTED_EVENTS} of them")

    @classmethod
    def of(cls, last_pass: Pass) -> "ReconciliationFigures":
        return cls(
            finished_at=last_pass.finished_at,
            seconds_ago=_seconds(last_pass.age),
            events=last_pass.events,
            divergent=len(last_pass.divergent_event_ids),
            divergent_event_ids=last_pass.divergent_event_ids[:LISTED_EVENTS],
        )


class ServicesHealth(BaseModel):
    score_maker: Readiness = Field(description="Of the process that answers")
    line_provider: LineProviderHealth = Field(description="What it reports by gRPC")
    arq_worker: WorkerHealth = Field(
        description="Whether one has reported to Redis in the last seconds; `unknown` without Redis, which workers "
        "need for reconciliation but not to relay ratings"
    )


_EXAMPLE: JsonDict = {
    "taken_at": "2026-06-11T21:07:03Z",
    "outbox": {"messages": 3, "due": 1, "claimed": 0, "postponed": 2, "stuck": 2, "oldest_seconds": 41.2},
    "throughput": {
        "accepted_per_second": 12.5,
        "settled_per_second": 12.4,
        "verdicts": [
            {"verdict": "applied", "reason": None, "last_minute": 801, "last_hour": 45210},
            {"verdict": "rejected", "reason": "deadline_passed", "last_minute": 1, "last_hour": 17},
        ],
    },
    "reconciliation": {
        "finished_at": "2026-06-11T21:06:58Z",
        "seconds_ago": 5.1,
        "events": 104,
        "divergent": 0,
        "divergent_event_ids": [],
    },
    "services": {
        "score_maker": {
            "status": "ready",
            "database": "ok",
            "line_provider": "ok",
            "redis": "ok",
            "ended_task": None,
        },
        "line_provider": "serving",
        "arq_worker": "reporting",
    },
    "manages_events": True,
}


class SagaResource(BaseModel):
    """The figures are null while the database is unreachable; `reconciliation` also before its first pass."""

    model_config = ConfigDict(json_schema_extra={"example": _EXAMPLE})

    taken_at: datetime | None
    outbox: OutboxFigures | None
    throughput: ThroughputFigures | None
    reconciliation: ReconciliationFigures | None
    services: ServicesHealth
    manages_events: bool = Field(description="This service has line_provider's token, so events can be changed here")

    @classmethod
    def of(cls, figures: SagaFigures | None, services: ServicesHealth, *, manages_events: bool) -> "SagaResource":
        if figures is None:
            return cls(
                taken_at=None,
                outbox=None,
                throughput=None,
                reconciliation=None,
                services=services,
                manages_events=manages_events,
            )
        return cls(
            taken_at=figures.taken_at,
            outbox=OutboxFigures.of(figures.outbox),
            throughput=ThroughputFigures.of(figures.throughput),
            reconciliation=ReconciliationFigures.of(figures.last_pass) if figures.last_pass else None,
            services=services,
            manages_events=manages_events,
        )


@router.get("/saga", responses=responses(OPERATOR_TOKEN_REQUIRED, TOO_MANY_REQUESTS))
async def get_saga(services: Services, response: Response) -> SagaResource:
    """The state of the saga, at most a second old; cheap enough to poll every other second.

    Always answers 200, and lists dependencies that are unreachable.
    """
    figures, own, line_provider, arq_worker = await asyncio.gather(
        services.saga.figures(),
        readiness(services),
        line_provider_health(services.line_provider),
        worker_health(services.redis),
    )
    response.headers.update(NO_STORE)
    health = ServicesHealth(score_maker=own, line_provider=line_provider, arq_worker=arq_worker)
    return SagaResource.of(figures, health, manages_events=services.event_management is not None)


class WaitingMessage(BaseModel):
    """A rating in the outbox, or a withdrawal (`score` is null)."""

    id: int
    event_id: int
    score: int | None
    version: int
    accepted_at: datetime
    age_seconds: Age
    attempts: int
    is_claimed: bool = Field(description="A worker is working on it; a retry would change nothing")
    next_attempt_in_seconds: Age = Field(
        description="0 if any worker may claim it now; if it is claimed, when another worker may take it over"
    )
    last_error: str | None = Field(examples=["INTERNAL: line_provider failed on this call; its log says why"])

    @classmethod
    def of(cls, message: StuckMessage) -> "WaitingMessage":
        return cls(
            id=message.id,
            event_id=message.event_id,
            score=message.value,
            version=message.version,
            accepted_at=message.accepted_at,
            age_seconds=_seconds(message.age),
            attempts=message.attempts,
            is_claimed=message.is_claimed,
            next_attempt_in_seconds=_seconds(message.next_attempt_in),
            last_error=message.last_error,
        )


class OutboxResource(BaseModel):
    messages: list[WaitingMessage]


@router.get(
    "/outbox",
    responses=responses(OPERATOR_TOKEN_REQUIRED, TOO_MANY_REQUESTS, INVALID_REQUEST, UNAVAILABLE),
)
async def list_outbox(
    services: Services, response: Response, limit: Annotated[int, Query(ge=1, le=1000)] = 50
) -> OutboxResource:
    """Submissions that line_provider has not decided yet, those with the most attempts first."""
    async with autocommit(services.engine) as connection:
        found = await outbox.list_stuck(connection, limit=limit)
    response.headers.update(NO_STORE)
    return OutboxResource(messages=[WaitingMessage.of(message) for message in found])


# JSON numbers are exact for all clients up to 2**53.
MessageId = Annotated[int, Field(strict=True, ge=1, le=2**53 - 1), BeforeValidator(whole)]


class RetryRequest(BaseModel):
    model_config = ConfigDict(extra="forbid", json_schema_extra={"example": {"ids": [17, 23]}})

    ids: Annotated[list[MessageId], Field(min_length=1, max_length=500)] | None = Field(
        description="The `id` of messages of `GET /ops/outbox`; null for all messages"
    )


class RetryResource(BaseModel):
    rescheduled: int = Field(description="How many were waiting for their next attempt, which is due now")
    hastened: int = Field(description="The same as `rescheduled`, under its former name", deprecated=True)


@router.post(
    "/outbox/retry",
    responses=responses(
        OPERATOR_TOKEN_REQUIRED,
        TOO_MANY_REQUESTS,
        INVALID_REQUEST,
        MALFORMED_JSON,
        NOT_JSON,
        CONTENT_TOO_LARGE,
        UNAVAILABLE,
    ),
)
async def retry_messages(services: Services, retry: RetryRequest) -> RetryResource:
    """Make postponed messages due now.

    Messages that a worker has claimed are left to it. Repeating it is safe.
    """
    async with services.engine.begin() as connection:
        rescheduled = await outbox.retry(connection, retry.ids)
    return RetryResource(rescheduled=rescheduled, hastened=rescheduled)


def _seconds(time: timedelta) -> float:
    return max(0.0, time.total_seconds())
