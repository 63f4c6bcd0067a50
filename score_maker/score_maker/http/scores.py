"""POST, GET and DELETE /events/{event_id}/score, and GET /scores: raters and their ratings.

Where the event is known, what it cannot take is refused at once; where it cannot be known (line_provider is away and
the event not in the catalog), the rating is taken and the saga decides.
"""

from datetime import UTC, datetime
from typing import Annotated

from fastapi import APIRouter, Query, Response, status
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, StrictInt, TypeAdapter

from score_maker import scores
from score_maker.domain import Refusal, Score
from score_maker.event_catalog import Event, Phase
from score_maker.event_feed import EventUnknowable
from score_maker.http.cursors import read_cursor, write_cursor
from score_maker.http.events import EventId, event_not_found
from score_maker.http.identity import LIMITED, AnyRater, KnownRater
from score_maker.http.problems import (
    EVENT_CANCELLED,
    EVENT_CLOSED,
    EVENT_FINAL,
    EVENT_NOT_FOUND,
    INVALID_REQUEST,
    MALFORMED_JSON,
    NOT_JSON,
    SCORE_NOT_FOUND,
    TOO_MANY_REQUESTS,
    UNAVAILABLE,
    UNKNOWN_TOKEN,
    Problem,
    responses,
)
from score_maker.http.score_resource import ScoreResource
from score_maker.http.state import AppState, State
from score_maker.raters import Rater
from score_maker.scores import Submission

router = APIRouter(tags=["scores"])

_CURSOR = TypeAdapter(tuple[AwareDatetime, Annotated[int, Field(ge=1, le=2**63 - 1)]])

_REFUSALS = (
    EVENT_NOT_FOUND,
    EVENT_CLOSED,
    EVENT_FINAL,
    EVENT_CANCELLED,
    INVALID_REQUEST,
    UNKNOWN_TOKEN,
    TOO_MANY_REQUESTS,
    UNAVAILABLE,
)


class ScoreSubmission(BaseModel):
    model_config = ConfigDict(extra="forbid", json_schema_extra={"example": {"score": 5}})

    score: StrictInt = Field(ge=1, le=5)


class ScoresResource(BaseModel):
    scores: list[ScoreResource]
    next_cursor: str | None = Field(description="Pass as `cursor` for the next page; null on the last one")


@router.post(
    "/events/{event_id}/score",
    status_code=status.HTTP_202_ACCEPTED,
    dependencies=[LIMITED],
    responses=responses(*_REFUSALS, MALFORMED_JSON, NOT_JSON),
)
async def submit_score(
    event_id: EventId, submission: ScoreSubmission, state: State, rater: AnyRater, response: Response
) -> ScoreResource:
    """Rate an event, or change your rating of it, until its deadline.

    The answer comes once the rating is stored for good; it is confirmed when line_provider has applied it, which a
    `GET` of this address tells. Repeating the request is safe: you have one rating per event.
    """
    event = await _ratable_event(state, event_id)
    outcome = await state.group_commit.submit(_submission(event_id, event, rater, submission.score))
    if isinstance(outcome, Refusal):
        raise _refused(outcome, event_id, event)
    response.headers["Location"] = f"/events/{event_id}/score"
    return ScoreResource.of(outcome, event)


@router.delete(
    "/events/{event_id}/score",
    status_code=status.HTTP_202_ACCEPTED,
    dependencies=[LIMITED],
    responses=responses(*_REFUSALS, SCORE_NOT_FOUND)
    | {status.HTTP_200_OK: {"model": ScoreResource, "description": "No rating stood that could be withdrawn"}},
)
async def withdraw_score(event_id: EventId, state: State, rater: KnownRater, response: Response) -> ScoreResource:
    """Withdraw your rating, until the event's deadline. Repeating it changes nothing."""
    if rater is None:
        raise _score_not_found(event_id)
    event = await _ratable_event(state, event_id)
    match await state.group_commit.submit(_submission(event_id, event, rater, None)):
        case Refusal.NOTHING_TO_WITHDRAW:
            response.status_code = status.HTTP_200_OK
            return ScoreResource.of(await _score(state, event_id, rater), event)
        case Refusal() as refusal:
            raise _refused(refusal, event_id, event)
        case Score() as score:
            return ScoreResource.of(score, event)


@router.get(
    "/events/{event_id}/score", responses=responses(SCORE_NOT_FOUND, INVALID_REQUEST, UNKNOWN_TOKEN, UNAVAILABLE)
)
async def get_score(event_id: EventId, state: State, rater: KnownRater) -> ScoreResource:
    """Your rating of the event and what became of it."""
    if rater is None:
        raise _score_not_found(event_id)
    return ScoreResource.of(await _score(state, event_id, rater), state.catalog.get(event_id))


@router.get("/scores", responses=responses(INVALID_REQUEST, UNKNOWN_TOKEN, UNAVAILABLE))
async def list_scores(
    state: State,
    rater: KnownRater,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
    cursor: Annotated[str | None, Query(description="`next_cursor` of the page before")] = None,
) -> ScoresResource:
    """Your ratings, newest first."""
    before = read_cursor(cursor, _CURSOR) if cursor is not None else None
    if rater is None:
        return ScoresResource(scores=[], next_cursor=None)
    async with state.engine.connect() as connection:
        found = await scores.list_of_rater(connection, rater.id, limit=limit + 1, before=before)
    page = found[:limit]
    return ScoresResource(
        scores=[ScoreResource.of(score, state.catalog.get(score.event_id)) for score in page],
        next_cursor=write_cursor((page[-1].accepted_at, page[-1].event_id), _CURSOR) if len(found) > limit else None,
    )


async def _ratable_event(state: AppState, event_id: int) -> Event | None:
    """The event, which takes ratings as far as is known; None where it cannot be known. Raises Problem."""
    try:
        event = await state.feed.find(event_id)
    except EventUnknowable:
        return None
    if event is None:
        raise event_not_found(event_id)
    match event.phase(datetime.now(UTC)):
        case Phase.CANCELLED:
            raise Problem(EVENT_CANCELLED, f"Event {event_id} was cancelled and takes no ratings any more.")
        case Phase.FINAL:
            raise _refused(Refusal.EVENT_FINAL, event_id, event)
        case Phase.CLOSED:
            raise _refused(Refusal.DEADLINE_PASSED, event_id, event)
        case Phase.OPEN:
            return event


def _submission(event_id: int, event: Event | None, rater: Rater, value: int | None) -> Submission:
    return Submission(event_id, rater.id, value, event.deadline if event else None)


async def _score(state: AppState, event_id: int, rater: Rater) -> Score:
    async with state.engine.connect() as connection:
        score = await scores.get(connection, event_id, rater.id)
    if score is None:
        raise _score_not_found(event_id)
    return score


def _refused(refusal: Refusal, event_id: int, event: Event | None) -> Problem:
    if refusal is Refusal.EVENT_FINAL:
        return Problem(EVENT_FINAL, f"The result of event {event_id} is final.")
    when = f" at {event.deadline.isoformat()}" if event else ""
    return Problem(EVENT_CLOSED, f"Event {event_id} could be rated until its deadline, which passed{when}.")


def _score_not_found(event_id: int) -> Problem:
    return Problem(SCORE_NOT_FOUND, f"You have not rated event {event_id}; POST a score to this address to rate it.")
