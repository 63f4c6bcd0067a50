"""POST, GET and DELETE /events/{event_id}/score, GET and DELETE /scores: raters and their ratings."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response, status
from pydantic import AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field, TypeAdapter

from score_maker.events.event import Phase
from score_maker.http.dependencies import Services
from score_maker.http.events.cursors import read_cursor, write_cursor
from score_maker.http.events.routes import EVENT_ID, EventId
from score_maker.http.headers.etag import answer
from score_maker.http.headers.preconditions import IfMatch, IfNoneMatch
from score_maker.http.identity import LIMITED, KnownRater, count_write, delete_cookie, known_rater
from score_maker.http.json_numbers import whole
from score_maker.http.plain_route import PlainRoute, answered_by
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
from score_maker.http.requests import read_json, valid
from score_maker.http.scores.openapi import READ, SUBMITTED, WITHDRAWN
from score_maker.http.scores.resource import EXAMPLE, ScoreResource, document_of
from score_maker.http.scores.submit import Prefer, score_not_found, submit
from score_maker.identity.accounts import id_of
from score_maker.identity.anonymous import Rater
from score_maker.ratings import erasure, queries
from score_maker.ratings.domain import SCALE
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
    model_config = ConfigDict(extra="forbid", json_schema_extra={"example": {"score": SCALE[-1]}})

    score: Annotated[int, Field(strict=True, ge=SCALE[0], le=SCALE[-1]), BeforeValidator(whole)]


class ScoresResource(BaseModel):
    model_config = ConfigDict(
        json_schema_extra={"example": {"scores": [EXAMPLE], "next_cursor": "WyIyMDI2LTA2LTExVDIxOjA3OjAzWiIsMTdd"}}
    )

    scores: list[ScoreResource]
    next_cursor: str | None = Field(description="Pass as `cursor` for the next page; null on the last one")


async def _submit_score(request: Request, path: Mapping[str, str]) -> Response:
    services: Services = request.state.services
    sent = await read_json(request, ScoreSubmission)
    known = await known_rater(request, services)
    await count_write(request, services, known)
    event_id, submission = valid(EVENT_ID, path["event_id"], "path", "event_id"), sent.checked()
    return await submit(request, services, event_id, known, submission.score)


@answered_by(_submit_score)
async def submit_score(
    event_id: EventId,
    submission: ScoreSubmission,
    prefer: Prefer = None,
    if_match: IfMatch = None,
    if_none_match: IfNoneMatch = None,
) -> None:
    """Rate an event, or change your rating of it, until its deadline.

    The response is sent once the rating is stored durably; it is confirmed when line_provider has applied it, which a
    `GET` of this address shows. With `Prefer: wait=SECONDS` the response is sent when it is confirmed (201 for your
    first rating of the event, else 200) or rejected (a problem, whose `score` is your rating as it stands then), or
    with 202 when the time is over. If you have submitted something else meanwhile, it is about that: see its `version`.

    You have one rating per event, and repeating the request is safe: resubmitting your current rating changes nothing
    and returns what became of it. With `If-Match` your rating is changed only if it has that version; with
    `If-None-Match: *` it is accepted only if you have not rated the event.
    """


router.add_api_route(
    "/events/{event_id}/score",
    submit_score,
    methods=["POST"],
    status_code=status.HTTP_202_ACCEPTED,
    response_model=ScoreResource,
    responses=SUBMITTED | responses(*_REFUSALS, MALFORMED_JSON, NOT_JSON, CONTENT_TOO_LARGE),
    route_class_override=PlainRoute,
)


@router.delete(
    "/events/{event_id}/score",
    status_code=status.HTTP_202_ACCEPTED,
    response_model=ScoreResource,
    dependencies=[LIMITED],
    responses=WITHDRAWN | responses(*_REFUSALS, SCORE_NOT_FOUND),
)
async def withdraw_score(
    event_id: EventId,
    rater: KnownRater,
    services: Services,
    request: Request,
    prefer: Prefer = None,  # noqa: ARG001 - documented here, read by `submit` together with the next two
    if_match: IfMatch = None,  # noqa: ARG001
    if_none_match: IfNoneMatch = None,  # noqa: ARG001
) -> Response:
    """Withdraw your rating, until the event's deadline. Repeating it changes nothing.

    `Prefer` and `If-Match` work as for a rating; 200 means that no rating of yours stands.
    """
    return await submit(request, services, event_id, rater, None)


@router.get(
    "/events/{event_id}/score",
    response_model=ScoreResource,
    responses=READ | responses(SCORE_NOT_FOUND, INVALID_REQUEST, UNKNOWN_TOKEN, UNAVAILABLE),
)
async def get_score(event_id: EventId, services: Services, rater: KnownRater, request: Request) -> Response:
    """Your rating of the event and what became of it."""
    score = None
    if rater is not None:
        async with autocommit(services.engine) as connection:
            score = await queries.get(connection, event_id, id_of(rater))
    if score is None:
        raise score_not_found(event_id)
    return answer(request, document_of(score, services.catalog.get(event_id)))


class ErasedResource(BaseModel):
    """What becomes of the ratings of a rater who is erased."""

    model_config = ConfigDict(json_schema_extra={"example": {"withdrawn": 2, "anonymised": 5}})

    withdrawn: int = Field(description="Ratings of open events, which are being withdrawn")
    anonymised: int = Field(description="Ratings of other events: they still count, and nobody knows whose they are")


@router.get(
    "/scores",
    response_description="A page of them.",
    responses=responses(INVALID_REQUEST, UNKNOWN_TOKEN, UNAVAILABLE),
)
async def list_scores(
    services: Services,
    rater: KnownRater,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
    cursor: Annotated[str | None, Query(description="`next_cursor` of the page before")] = None,
) -> ScoresResource:
    """Your ratings, newest first: ordered by when your latest submission on each event was accepted.

    Pages stay consistent whatever you rate meanwhile: a new rating appears before the first page.
    """
    before = read_cursor(cursor, _CURSOR) if cursor is not None else None
    if rater is None:
        return ScoresResource(scores=[], next_cursor=None)
    async with autocommit(services.engine) as connection:
        found = await queries.list_of_rater(connection, id_of(rater), limit=limit + 1, before=before)
    page = found[:limit]
    return ScoresResource(
        scores=[ScoreResource.of(score, services.catalog.get(score.event_id)) for score in page],
        next_cursor=write_cursor((page[-1].accepted_at, page[-1].event_id), _CURSOR) if len(found) > limit else None,
    )


@router.delete(
    "/scores",
    name="forget_me",
    status_code=status.HTTP_202_ACCEPTED,
    response_description="The erasure is recorded; the withdrawals are under way.",
    dependencies=[LIMITED],
    responses=responses(INVALID_REQUEST, UNKNOWN_TOKEN, TOKEN_REQUIRED, TOO_MANY_REQUESTS, UNAVAILABLE),
)
async def erase_me(services: Services, rater: KnownRater, request: Request, response: Response) -> ErasedResource:
    """Delete all my ratings and unlink my identity (right to erasure).

    Your ratings of open events are withdrawn. Those of other events still count, but nothing links you to them any
    more: the cookie is deleted, and a token that was minted here is invalid for good; with an issuer's token you are
    another rater the next time that you rate. Repeating it is safe.
    """
    response.headers.update(delete_cookie(request))
    if rater is None:
        return ErasedResource(withdrawn=0, anonymised=0)
    rater_id = rater.id if isinstance(rater, Rater) else await services.accounts.look_up(rater)
    event_ids = await erasure.erase(services.engine, rater_id) if rater_id else []
    now = datetime.now(UTC)
    events = map(services.catalog.get, event_ids)
    # An unknown event may be open.
    withdrawn = sum(1 for event in events if event is None or event.phase(now) is Phase.OPEN)
    return ErasedResource(withdrawn=withdrawn, anonymised=len(event_ids) - withdrawn)
