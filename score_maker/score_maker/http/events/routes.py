"""GET /events, /events/{event_id} and /events/stream: line_provider's events as the catalog has them."""

import asyncio
from collections.abc import Collection
from datetime import UTC, datetime
from typing import Annotated

import structlog
from fastapi import APIRouter, Header, Path, Query, Request, Response, status
from fastapi.responses import StreamingResponse
from sqlalchemy.exc import SQLAlchemyError

from score_maker import metrics
from score_maker.composition import AppState, State
from score_maker.events.catalog import Filter, Phase, Sort, Status
from score_maker.events.feed import EventUnknowable
from score_maker.http.events.documents import EventsResource, SingleEventResource, extended, json_bool
from score_maker.http.events.listings import ListingQuery
from score_maker.http.headers.etag import NOT_MODIFIED, Document, answer
from score_maker.http.identity import KnownRater
from score_maker.http.middleware.observation import waits
from score_maker.http.problems.openapi import responses
from score_maker.http.problems.types import (
    EVENT_NOT_FOUND,
    INVALID_REQUEST,
    TOO_MANY_LISTENERS,
    UNAVAILABLE,
    UNKNOWN_TOKEN,
    Problem,
)
from score_maker.http.scores.resource import ScoreResource
from score_maker.identity.accounts import whose
from score_maker.identity.anonymous import Rater, Subject
from score_maker.ratings import accept
from score_maker.ratings.domain import Score
from scoreline_common.database import autocommit, is_unreachable

log = structlog.get_logger(__name__)

# Events are served from memory, and do not wait longer than this for the database to add the reader's own ratings.
MY_SCORES_SECONDS = 2
# A listener may have left by then.
_STREAM_RETRY_AFTER = "30"

EventId = Annotated[int, Path(ge=1, le=2**63 - 1, description="line_provider's id of the event")]


router = APIRouter(tags=["events"])


@router.get(
    "/events",
    response_model=EventsResource,
    responses=responses(INVALID_REQUEST, UNKNOWN_TOKEN, UNAVAILABLE) | NOT_MODIFIED,
)
async def list_events(
    request: Request,
    state: State,
    rater: KnownRater,
    status: Annotated[Status | None, Query(description="Only events of this status")] = None,
    phase: Annotated[Phase | None, Query(description="Only events in this phase")] = None,
    q: Annotated[
        str | None,
        Query(
            max_length=200,
            description="Only events that have all these words, or parts of words, in title or description; letter "
            "case and accents do not matter",
        ),
    ] = None,
    sort: Annotated[
        Sort,
        Query(
            description="Earliest, best, most rated or newest first. `top` is the average together with a few ratings "
            "that every event is given in advance (SCORE_MAKER_TOP_PRIOR_WEIGHT of them, by default 10, whose average "
            "is SCORE_MAKER_TOP_PRIOR_MEAN, by default 3): a single 5 does not beat a hundred 4s"
        ),
    ] = Sort.DEADLINE,
    limit: Annotated[int, Query(ge=1, le=1000)] = 200,
    cursor: Annotated[
        str | None, Query(description="`next_cursor` of the page before; all else but `limit` must be as it was there")
    ] = None,
) -> Response:
    """The events that there are, page by page.

    Paging is safe while events change: one that keeps its place in the order, and still passes the filters, is listed
    once; only one that moves meanwhile may be listed twice or not at all, and `GET /events/stream` tells of it.
    They are served from memory: without the database too, which `my_score_unknown` then tells.
    """
    if not state.catalog.is_known:
        raise Problem(UNAVAILABLE, "The events are not known yet: line_provider has not been reached since the start.")
    listing = state.listings.get(request.scope["query_string"])
    metrics.LISTING_CACHE.labels("miss" if listing is None else "hit").inc()
    if listing is None:
        query = ListingQuery.of(Filter.matching(status, phase, q), sort, limit, cursor)
        listing = state.listings.add(request.scope["query_string"], query)
    if rater is None:
        return answer(request, listing.document())
    shown = listing.state()
    events = {event.event_id: event for event in shown.events}
    mine = await _my_scores(state, rater, events)
    if mine is None:
        return answer(request, listing.rated_document(shown, None))
    my_scores = {score.event_id: _json(ScoreResource.of(score, events[score.event_id])) for score in mine}
    return answer(request, listing.rated_document(shown, my_scores))


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
    state: State,
    after: Annotated[
        str | None, Query(description="`stream_position` of a list: what has changed since comes first")
    ] = None,
    last_event_id: Annotated[
        str | None, Header(description="`id` of the last message received; outweighs `after`. Browsers send it")
    ] = None,
) -> Response:
    """Be told what changes, as [server-sent events](https://html.spec.whatwg.org/multipage/server-sent-events.html).

    `event: event` has an event's latest state in `data`, as in the list but without `my_score`, and its position in
    `id`. Several changes of an event may come as one; its last state always comes, however long you were away.
    `event: reset` says that the position is not known here (any more), as after a restart of the service: load the list
    again and go on from its `stream_position`. Comments keep the connection open while nothing changes.
    """
    if state.stream.is_full:
        detail = "As many as can be are told of changes already; load the list now and then instead."
        raise Problem(TOO_MANY_LISTENERS, detail, headers={"Retry-After": _STREAM_RETRY_AFTER})
    waits(request.scope)
    stream = state.stream.listen(last_event_id or after)
    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    return StreamingResponse(stream, headers=headers, media_type="text/event-stream")


@router.get(
    "/events/{event_id}",
    response_model=SingleEventResource,
    responses=responses(EVENT_NOT_FOUND, INVALID_REQUEST, UNKNOWN_TOKEN, UNAVAILABLE) | NOT_MODIFIED,
)
async def get_event(request: Request, event_id: EventId, state: State, rater: KnownRater) -> Response:
    """One event, with your own rating of it."""
    try:
        event = await state.feed.find(event_id)
    except EventUnknowable:
        raise Problem(UNAVAILABLE, f"Whether there is an event {event_id} cannot be told now.") from None
    if event is None:
        raise event_not_found(event_id)
    mine = await _my_scores(state, rater, [event_id]) if rater is not None else []
    body = extended(
        state.documents.of(event, event.phase(datetime.now(UTC))),
        my_score=_json(ScoreResource.of(mine[0], event)) if mine else b"null",
        stale=json_bool(state.catalog.is_stale),
        my_score_unknown=json_bool(mine is None),
    )
    return answer(request, Document.of(body))


def event_not_found(event_id: int) -> Problem:
    return Problem(EVENT_NOT_FOUND, f"There is no event {event_id}; GET /events lists those that there are.")


async def _my_scores(state: AppState, rater: Rater | Subject, event_ids: Collection[int]) -> list[Score] | None:
    """The rater's scores of these events; None where the database cannot be asked now."""
    try:
        async with asyncio.timeout(MY_SCORES_SECONDS), autocommit(state.engine) as connection:
            return await accept.of_rater_for_events(connection, whose(rater), event_ids)
    except (SQLAlchemyError, OSError) as error:
        if not is_unreachable(error):
            raise
        log.warning("my_scores_unknown", error=repr(error))
        return None


def _json(score: ScoreResource) -> bytes:
    return score.model_dump_json().encode()
