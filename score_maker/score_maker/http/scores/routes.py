"""POST, GET and DELETE /events/{event_id}/score, GET and DELETE /scores: raters and their ratings."""

from datetime import UTC, datetime
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response, status
from pydantic import AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field, TypeAdapter

from score_maker.composition import State
from score_maker.events.catalog import Phase
from score_maker.http.events.cursors import read_cursor, write_cursor
from score_maker.http.events.routes import EventId
from score_maker.http.headers.etag import answer
from score_maker.http.identity import LIMITED, AnyRater, KnownRater, forget_cookie
from score_maker.http.json_numbers import whole
from score_maker.http.problems.openapi import responses
from score_maker.http.problems.types import (
    CONTENT_TOO_LARGE,
    EVENT_CANCELLED,
    EVENT_CLOSED,
    EVENT_FINAL,
    EVENT_NOT_FOUND,
    INVALID_REQUEST,
    MALFORMED_JSON,
    NOT_JSON,
    PRECONDITION_FAILED,
    SCORE_NOT_FOUND,
    SCORE_REJECTED,
    TOKEN_REQUIRED,
    TOO_MANY_REQUESTS,
    UNAVAILABLE,
    UNKNOWN_TOKEN,
)
from score_maker.http.scores.openapi import READ, SUBMITTED, WITHDRAWN
from score_maker.http.scores.resource import EXAMPLE, ScoreResource
from score_maker.http.scores.submit import ScoreSubmissions, score_not_found
from score_maker.identity.accounts import whose
from score_maker.identity.anonymous import Rater
from score_maker.ratings import accept, erasure
from scoreline_common.database import autocommit

router = APIRouter(tags=["scores"])

_CURSOR = TypeAdapter(tuple[AwareDatetime, Annotated[int, Field(ge=1, le=2**63 - 1)]])

_REFUSALS = (
    EVENT_NOT_FOUND,
    EVENT_CLOSED,
    EVENT_FINAL,
    EVENT_CANCELLED,
    SCORE_REJECTED,
    PRECONDITION_FAILED,
    INVALID_REQUEST,
    UNKNOWN_TOKEN,
    TOKEN_REQUIRED,
    TOO_MANY_REQUESTS,
    UNAVAILABLE,
)


class ScoreSubmission(BaseModel):
    model_config = ConfigDict(extra="forbid", json_schema_extra={"example": {"score": 5}})

    score: Annotated[int, Field(strict=True, ge=1, le=5), BeforeValidator(whole)]


class ScoresResource(BaseModel):
    model_config = ConfigDict(
        json_schema_extra={"example": {"scores": [EXAMPLE], "next_cursor": "WyIyMDI2LTA2LTExVDIxOjA3OjAzWiIsMTdd"}}
    )

    scores: list[ScoreResource]
    next_cursor: str | None = Field(description="Pass as `cursor` for the next page; null on the last one")


@router.post(
    "/events/{event_id}/score",
    status_code=status.HTTP_202_ACCEPTED,
    response_model=ScoreResource,
    dependencies=[LIMITED],
    responses=SUBMITTED | responses(*_REFUSALS, MALFORMED_JSON, NOT_JSON, CONTENT_TOO_LARGE),
)
async def submit_score(
    event_id: EventId,
    submission: ScoreSubmission,
    rater: AnyRater,
    submissions: ScoreSubmissions,
) -> Response:
    """Rate an event, or change your rating of it, until its deadline.

    The answer comes once the rating is stored for good; it is confirmed when line_provider has applied it, which a
    `GET` of this address tells. With `Prefer: wait=SECONDS` the answer comes when it is confirmed (201 for your first
    rating of the event, else 200) or rejected (a problem, whose `score` is your rating as it stands then), or with 202
    when the time is over. Where you have said something else meanwhile, it speaks of that: see its `version`.

    You have one rating per event, and repeating the request is safe: to say what you have said already changes
    nothing, and is answered by what has become of it. With `If-Match` your rating is changed only if it is of that
    version; with `If-None-Match: *` it is taken only if you have not rated the event.
    """
    return await submissions.submit(event_id, rater, submission.score)


@router.delete(
    "/events/{event_id}/score",
    status_code=status.HTTP_202_ACCEPTED,
    response_model=ScoreResource,
    dependencies=[LIMITED],
    responses=WITHDRAWN | responses(*_REFUSALS, SCORE_NOT_FOUND),
)
async def withdraw_score(event_id: EventId, rater: KnownRater, submissions: ScoreSubmissions) -> Response:
    """Withdraw your rating, until the event's deadline. Repeating it changes nothing.

    `Prefer` and `If-Match` are as for a rating; 200 means that no rating of yours stands.
    """
    if rater is None:
        raise score_not_found(event_id)
    return await submissions.submit(event_id, rater, None)


@router.get(
    "/events/{event_id}/score",
    response_model=ScoreResource,
    responses=READ | responses(SCORE_NOT_FOUND, INVALID_REQUEST, UNKNOWN_TOKEN, UNAVAILABLE),
)
async def get_score(event_id: EventId, state: State, rater: KnownRater, request: Request) -> Response:
    """Your rating of the event and what became of it."""
    score = None
    if rater is not None:
        async with autocommit(state.engine) as connection:
            score = await accept.get(connection, event_id, whose(rater))
    if score is None:
        raise score_not_found(event_id)
    return answer(request, ScoreResource.of(score, state.catalog.get(event_id)).document())


class ForgottenResource(BaseModel):
    """What becomes of the ratings of a rater who is forgotten."""

    model_config = ConfigDict(json_schema_extra={"example": {"withdrawn": 2, "anonymised": 5}})

    withdrawn: int = Field(description="Ratings of events that are open, which are being withdrawn")
    anonymised: int = Field(description="Ratings of other events: they count on, and nobody knows whose they are")


@router.get(
    "/scores",
    response_description="A page of them.",
    responses=responses(INVALID_REQUEST, UNKNOWN_TOKEN, UNAVAILABLE),
)
async def list_scores(
    state: State,
    rater: KnownRater,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
    cursor: Annotated[str | None, Query(description="`next_cursor` of the page before")] = None,
) -> ScoresResource:
    """Your ratings, newest first: in the order in which they were accepted, that of your last word on each event.

    A page follows the one before whatever you rate meanwhile: that comes first in the list, before both.
    """
    before = read_cursor(cursor, _CURSOR) if cursor is not None else None
    if rater is None:
        return ScoresResource(scores=[], next_cursor=None)
    async with autocommit(state.engine) as connection:
        found = await accept.list_of_rater(connection, whose(rater), limit=limit + 1, before=before)
    page = found[:limit]
    return ScoresResource(
        scores=[ScoreResource.of(score, state.catalog.get(score.event_id)) for score in page],
        next_cursor=write_cursor((page[-1].accepted_at, page[-1].event_id), _CURSOR) if len(found) > limit else None,
    )


@router.delete(
    "/scores",
    status_code=status.HTTP_202_ACCEPTED,
    response_description="It is done as far as it concerns you; the withdrawals are under way.",
    dependencies=[LIMITED],
    responses=responses(INVALID_REQUEST, UNKNOWN_TOKEN, TOKEN_REQUIRED, TOO_MANY_REQUESTS, UNAVAILABLE),
)
async def forget_me(state: State, rater: KnownRater, request: Request, response: Response) -> ForgottenResource:
    """Have yourself forgotten.

    Your ratings of events that are open are withdrawn. Those of other events count on, but nothing leads from you to
    them any more: the cookie is deleted, and a token that was minted here names nobody, for good; with an issuer's
    token you are somebody new the next time that you rate. Repeating it is safe.
    """
    forget_cookie(request, response)
    if rater is None:
        return ForgottenResource(withdrawn=0, anonymised=0)
    rater_id = rater.id if isinstance(rater, Rater) else await state.issued_raters.look_up(rater)
    event_ids = await erasure.forget(state.engine, rater_id) if rater_id else []
    now = datetime.now(UTC)
    events = map(state.catalog.get, event_ids)
    # An event that is not known may be open.
    withdrawn = sum(1 for event in events if event is None or event.phase(now) is Phase.OPEN)
    return ForgottenResource(withdrawn=withdrawn, anonymised=len(event_ids) - withdrawn)
