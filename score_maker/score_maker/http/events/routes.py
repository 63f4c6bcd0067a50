"""GET /events, /events/{event_id} and /events/stream: line_provider's events as the catalog has them."""

import asyncio
from collections.abc import Collection, Mapping
from datetime import UTC, datetime
from typing import Annotated

import structlog
from fastapi import APIRouter, Header, Path, Query, Request, Response, status
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, Field, TypeAdapter
from sqlalchemy.exc import SQLAlchemyError

from score_maker.events.catalog import Filter, Sort
from score_maker.events.event import Phase, Status
from score_maker.events.feed import EventLookupUnavailable
from score_maker.http import metrics
from score_maker.http.dependencies import Services, Views
from score_maker.http.events.documents import EventsResource, SingleEventResource, extended, json_bool
from score_maker.http.events.listings import ListingQuery
from score_maker.http.headers.etag import NOT_MODIFIED, Document, answer
from score_maker.http.identity import KnownRater, known_rater
from score_maker.http.middleware.observation import exclude_from_latency
from score_maker.http.plain_route import PlainRoute, answered_by
from score_maker.http.problems.openapi import responses
from score_maker.http.problems.types import (
    EVENT_NOT_FOUND,
    INVALID_REQUEST,
    TOO_MANY_LISTENERS,
    UNAVAILABLE,
    UNKNOWN_TOKEN,
    Problem,
)
from score_maker.http.requests import valid_query
from score_maker.http.scores.resource import document_of
from score_maker.identity.accounts import Subject, id_of
from score_maker.identity.anonymous import Rater
from score_maker.ratings import queries
from score_maker.ratings.domain import Score
from scoreline_common.database import autocommit, is_unreachable

log = structlog.get_logger(__name__)

# Events are served from memory; this is how long a response waits for the database to add the reader's own ratings.
MY_SCORES_SECONDS = 2
# Another subscriber may have left by then.
_STREAM_RETRY_AFTER = "30"

EventId = Annotated[int, Path(ge=1, le=2**63 - 1, description="line_provider's id of the event")]
EVENT_ID: TypeAdapter[int] = TypeAdapter(Annotated[int, Field(ge=1, le=2**63 - 1)])


class EventsQuery(BaseModel):
    """The query parameters of GET /events."""

    status: Status | None = Field(default=None, description="Only events with this status")
    phase: Phase | None = Field(default=None, description="Only events in this phase")
    q: str | None = Field(
        default=None,
        max_length=200,
        description="Only events that have all these words, or parts of words, in title or description; letter case "
        "and accents do not matter",
    )
    sort: Sort = Field(
        default=Sort.DEADLINE,
        description="Earliest, best, most rated or newest first. `top` is a Bayesian average: each event is given a "
        "few ratings in advance (SCORE_MAKER_TOP_PRIOR_WEIGHT of them, by default 10, with the average "
        "SCORE_MAKER_TOP_PRIOR_MEAN, by default 3), so a single 5 does not beat a hundred 4s",
    )
    limit: int = Field(default=200, ge=1, le=1000)
    cursor: str | None = Field(
        default=None, description="`next_cursor` of the page before; all else but `limit` must be as it was there"
    )


router = APIRouter(tags=["events"])


async def _list_events(request: Request, _: Mapping[str, str]) -> Response:
    services: Services = request.state.services
    listings: Views = request.state.views
    query_string = request.scope["query_string"]
    rater = await known_rater(request, services)
    listing = listings.listings.get(query_string)
    if listing is None:
        metrics.LISTING_CACHE.labels("miss").inc()
        query = valid_query(request, EventsQuery)
        if not services.catalog.is_known:
            detail = "The events are not known yet: line_provider has not been reached since the start."
            raise Problem(UNAVAILABLE, detail)
        which = Filter.matching(query.status, query.phase, query.q)
        listing = listings.listings.add(query_string, ListingQuery.of(which, query.sort, query.limit, query.cursor))
    else:
        metrics.LISTING_CACHE_HITS.inc()
    if rater is None:
        return answer(request, listing.document())
    shown = listing.state()
    events = {event.event_id: event for event in shown.events}
    mine = await _my_scores(services, rater, events)
    if mine is None:
        return answer(request, listing.rated_document(shown, None))
    my_scores = {score.event_id: document_of(score, events[score.event_id]).body for score in mine}
    return answer(request, listing.rated_document(shown, my_scores))


@answered_by(_list_events)
async def list_events(query: Annotated[EventsQuery, Query()]) -> None:
    """All events, page by page.

    Paging is safe while events change: an event that keeps its place in the order, and still passes the filters, is
    listed once. Only one that moves meanwhile may be listed twice or not at all, and `GET /events/stream` reports it.
    Events are served from memory, without the database too; `my_score_unknown` then says so.
    """


router.add_api_route(
    "/events",
    list_events,
    methods=["GET"],
    response_model=EventsResource,
    responses=responses(INVALID_REQUEST, UNKNOWN_TOKEN, UNAVAILABLE) | NOT_MODIFIED,
    route_class_override=PlainRoute,
)


@router.get(
    "/events/stream",
    response_class=StreamingResponse,
    responses=responses(INVALID_REQUEST, TOO_MANY_LISTENERS)
    | {
        status.HTTP_200_OK: {
            "description": "Server-sent events, without end",
            "content": {
                "text/event-stream": {
                    "example": 'event: event\nid: 5f0c9a1e-1285\ndata: {"event_id":17,"phase":"open",…}\n\n'
                }
            },
        }
    },
)
async def stream_events(
    request: Request,
    views: Views,
    after: Annotated[
        str | None, Query(description="`stream_position` of a list: what has changed since then is sent first")
    ] = None,
    last_event_id: Annotated[
        str | None, Header(description="`id` of the last message received; overrides `after`. Browsers send it")
    ] = None,
) -> Response:
    """Subscribe to changes, as [server-sent events](https://html.spec.whatwg.org/multipage/server-sent-events.html).

    `event: event` has an event's latest state in `data`, as in the list but without `my_score`, and its position in
    `id`. Several changes of an event may come as one; its last state is always sent, however long you were away.
    `event: reset` says that the position is not known here (any more), as after a restart of the service: load the list
    again and continue from its `stream_position`. Comments keep the connection open while nothing changes.
    """
    if views.stream.is_full:
        detail = "The stream has as many subscribers as it can serve; load the list from time to time instead."
        raise Problem(TOO_MANY_LISTENERS, detail, headers={"Retry-After": _STREAM_RETRY_AFTER})
    exclude_from_latency(request.scope)
    stream = views.stream.subscribe(last_event_id or after)
    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    return StreamingResponse(stream, headers=headers, media_type="text/event-stream")


@router.get(
    "/events/{event_id}",
    response_model=SingleEventResource,
    responses=responses(EVENT_NOT_FOUND, INVALID_REQUEST, UNKNOWN_TOKEN, UNAVAILABLE) | NOT_MODIFIED,
)
async def get_event(
    request: Request, event_id: EventId, services: Services, views: Views, rater: KnownRater
) -> Response:
    """One event, with your own rating of it."""
    try:
        event = await services.feed.find(event_id)
    except EventLookupUnavailable:
        raise Problem(UNAVAILABLE, f"Whether event {event_id} exists is unknown now.") from None
    if event is None:
        raise event_not_found(event_id)
    mine = await _my_scores(services, rater, [event_id]) if rater is not None else []
    body = extended(
        views.documents.of(event, event.phase(datetime.now(UTC))),
        my_score=document_of(mine[0], event).body if mine else b"null",
        stale=json_bool(services.catalog.is_stale),
        my_score_unknown=json_bool(mine is None),
    )
    return answer(request, Document.of(body))


def event_not_found(event_id: int) -> Problem:
    return Problem(EVENT_NOT_FOUND, f"There is no event {event_id}; GET /events lists the events.")


async def _my_scores(services: Services, rater: Rater | Subject, event_ids: Collection[int]) -> list[Score] | None:
    """Returns the rater's scores of these events; None while the database is unreachable."""
    try:
        async with asyncio.timeout(MY_SCORES_SECONDS), autocommit(services.engine) as connection:
            return await queries.of_rater_for_events(connection, id_of(rater), event_ids)
    except (SQLAlchemyError, OSError) as error:
        if not is_unreachable(error):
            raise
        log.warning("my_scores_unknown", error=repr(error))
        return None
