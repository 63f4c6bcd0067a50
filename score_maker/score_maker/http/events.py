"""GET /events and GET /events/{event_id}: line_provider's events as the catalog has them."""

from datetime import UTC, datetime
from typing import Annotated

from fastapi import APIRouter, Path, Query
from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, TypeAdapter

from score_maker import scores
from score_maker.event_catalog import Event, Filter, Phase, Sort, Status
from score_maker.event_feed import EventUnknowable
from score_maker.http.cursors import invalid_cursor, read_cursor, write_cursor
from score_maker.http.identity import KnownRater
from score_maker.http.problems import (
    EVENT_NOT_FOUND,
    INVALID_REQUEST,
    UNAVAILABLE,
    UNKNOWN_TOKEN,
    Problem,
    responses,
)
from score_maker.http.score_resource import ScoreResource
from score_maker.http.state import State

router = APIRouter(tags=["events"])

_CURSOR = TypeAdapter(tuple[Sort, FiniteFloat, int])

EventId = Annotated[int, Path(ge=1, le=2**63 - 1, description="line_provider's id of the event")]


class EventResource(BaseModel):
    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "event_id": 17,
                "title": "Mexico – South Africa",
                "description": "World Cup 2026, Group A, Mexico City",
                "starts_at": "2026-06-11T19:00:00Z",
                "deadline": "2026-06-13T19:00:00Z",
                "phase": "open",
                "status": "HIGH_SCORE",
                "average": 4.5,
                "score_count": 2,
                "histogram": [0, 0, 0, 1, 1],
                "cancelled_at": None,
                "finalized_at": None,
            }
        }
    )

    event_id: int
    title: str
    description: str
    starts_at: datetime
    deadline: datetime = Field(description="The last moment at which a rating is accepted")
    phase: Phase = Field(description="`open` events can be rated")
    status: Status = Field(description="PROCESSING until a rating stands; then by the average")
    average: float | None = Field(description="null where no rating stands")
    score_count: int
    histogram: tuple[int, ...] = Field(description="How many ratings of 1, 2, 3, 4 and 5 stand")
    cancelled_at: datetime | None
    finalized_at: datetime | None


class EventsResource(BaseModel):
    events: list[EventResource]
    next_cursor: str | None = Field(description="Pass as `cursor` for the next page; null on the last one")
    stale: bool = Field(description="line_provider is not heard just now: the figures may be behind")


class RatedEventResource(EventResource):
    my_score: ScoreResource | None = Field(description="Your own rating, if the cookie or token names you")
    stale: bool = Field(description="line_provider is not heard just now: the figures may be behind")


@router.get("/events", responses=responses(INVALID_REQUEST, UNAVAILABLE))
async def list_events(
    state: State,
    status: Annotated[Status | None, Query(description="Only events of this status")] = None,
    phase: Annotated[Phase | None, Query(description="Only events in this phase")] = None,
    q: Annotated[str | None, Query(max_length=200, description="Only events whose title or description has it")] = None,
    sort: Annotated[Sort, Query(description="Earliest, best or newest first")] = Sort.DEADLINE,
    limit: Annotated[int, Query(ge=1, le=1000)] = 200,
    cursor: Annotated[str | None, Query(description="`next_cursor` of the page before, with the same `sort`")] = None,
) -> EventsResource:
    """The events that there are, page by page."""
    if not state.catalog.is_known:
        raise Problem(UNAVAILABLE, "The events are not known yet: line_provider has not been reached since the start.")
    after = None
    if cursor is not None:
        sorted_by, value, event_id = read_cursor(cursor, _CURSOR)
        if sorted_by is not sort:
            raise invalid_cursor()
        after = value, event_id
    now = datetime.now(UTC)
    page = state.catalog.page(Filter(status, phase, q or None), sort, limit=limit, after=after, now=now)
    return EventsResource(
        events=[EventResource(**_fields(event, now)) for event in page.events],
        next_cursor=write_cursor((sort, *page.next_after), _CURSOR) if page.next_after is not None else None,
        stale=state.catalog.is_stale,
    )


@router.get("/events/{event_id}", responses=responses(EVENT_NOT_FOUND, INVALID_REQUEST, UNKNOWN_TOKEN, UNAVAILABLE))
async def get_event(event_id: EventId, state: State, rater: KnownRater) -> RatedEventResource:
    """One event, with your own rating of it."""
    try:
        event = await state.feed.find(event_id)
    except EventUnknowable:
        raise Problem(UNAVAILABLE, f"Whether there is an event {event_id} cannot be told now.") from None
    if event is None:
        raise event_not_found(event_id)
    my_score = None
    if rater is not None:
        async with state.engine.connect() as connection:
            my_score = await scores.get(connection, event_id, rater.id)
    return RatedEventResource(
        **_fields(event, datetime.now(UTC)),
        my_score=ScoreResource.of(my_score, event) if my_score else None,
        stale=state.catalog.is_stale,
    )


def event_not_found(event_id: int) -> Problem:
    return Problem(EVENT_NOT_FOUND, f"There is no event {event_id}; GET /events lists those that there are.")


def _fields(event: Event, now: datetime) -> dict[str, object]:
    return {
        "event_id": event.event_id,
        "title": event.title,
        "description": event.description,
        "starts_at": event.starts_at,
        "deadline": event.deadline,
        "phase": event.phase(now),
        "status": event.status,
        "average": event.average,
        "score_count": event.score_count,
        "histogram": event.histogram,
        "cancelled_at": event.cancelled_at,
        "finalized_at": event.finalized_at,
    }
