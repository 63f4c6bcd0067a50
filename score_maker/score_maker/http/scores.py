"""POST, GET and DELETE /events/{event_id}/score, and GET /scores: raters and their ratings.

Where the event is known, what it cannot take is refused at once; where it cannot be known (line_provider is away and
the event not in the catalog), the rating is taken and the saga decides.
"""

import asyncio
from datetime import UTC, datetime
from typing import Annotated

from fastapi import APIRouter, Depends, Header, Query, Request, Response, status
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, StrictInt, TypeAdapter

from score_maker import scores
from score_maker.domain import Refusal, Score
from score_maker.domain import State as ScoreState
from score_maker.event_catalog import Event, Phase
from score_maker.event_feed import EventUnknowable
from score_maker.http.cursors import read_cursor, write_cursor
from score_maker.http.events import EventId, event_not_found
from score_maker.http.identity import LIMITED, AnyRater, KnownRater
from score_maker.http.preferences import wait_seconds
from score_maker.http.problems import (
    EVENT_CANCELLED,
    EVENT_CLOSED,
    EVENT_FINAL,
    EVENT_NOT_FOUND,
    INVALID_REQUEST,
    MALFORMED_JSON,
    NOT_JSON,
    SCORE_NOT_FOUND,
    SCORE_REJECTED,
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

LONGEST_WAIT_SECONDS = 30
# When to look again at what was not decided within the wait.
_RETRY_AFTER = "1"

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


def _wait(
    prefer: Annotated[
        list[str] | None,
        Header(
            description=f"`wait=SECONDS` (RFC 7240): answer when it is decided; {LONGEST_WAIT_SECONDS} at most",
            examples=["wait=10"],
        ),
    ] = None,
) -> int | None:
    return wait_seconds(prefer or [], at_most=LONGEST_WAIT_SECONDS)


Wait = Annotated[int | None, Depends(_wait)]


class ScoreSubmission(BaseModel):
    model_config = ConfigDict(extra="forbid", json_schema_extra={"example": {"score": 5}})

    score: StrictInt = Field(ge=1, le=5)


_REJECTIONS = {
    "event_not_found": EVENT_NOT_FOUND,
    "event_cancelled": EVENT_CANCELLED,
    "event_final": EVENT_FINAL,
    "deadline_passed": EVENT_CLOSED,
}


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
    event_id: EventId,
    submission: ScoreSubmission,
    state: State,
    rater: AnyRater,
    wait: Wait,
    request: Request,
    response: Response,
) -> ScoreResource:
    """Rate an event, or change your rating of it, until its deadline.

    The answer comes once the rating is stored for good; it is confirmed when line_provider has applied it, which a
    `GET` of this address tells. With `Prefer: wait=SECONDS` the answer comes when it is confirmed (201 for your first
    rating of the event, else 200) or rejected (a problem, whose `score` is your rating as it stands then), or with 202
    when the time is over. Where you have said something else meanwhile, it speaks of that: see its `version`.
    Repeating the request is safe: you have one rating per event.
    """
    event = await _ratable_event(state, event_id)
    outcome = await state.group_commit.submit(_submission(event_id, event, rater, submission.score))
    if isinstance(outcome, Refusal):
        raise _refused(outcome, event_id, event)
    response.headers["Location"] = f"/events/{event_id}/score"
    return _answer(response, await _decided(state, outcome, wait, request, response), event, of=outcome)


@router.delete(
    "/events/{event_id}/score",
    status_code=status.HTTP_202_ACCEPTED,
    dependencies=[LIMITED],
    responses=responses(*_REFUSALS, SCORE_NOT_FOUND)
    | {status.HTTP_200_OK: {"model": ScoreResource, "description": "No rating stood that could be withdrawn"}},
)
async def withdraw_score(
    event_id: EventId, state: State, rater: KnownRater, wait: Wait, request: Request, response: Response
) -> ScoreResource:
    """Withdraw your rating, until the event's deadline. Repeating it changes nothing.

    With `Prefer: wait=SECONDS` the answer comes when line_provider has ruled, as for a rating.
    """
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
            response.headers["Location"] = f"/events/{event_id}/score"
            return _answer(response, await _decided(state, score, wait, request, response), event, of=score)


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


async def _decided(state: AppState, score: Score, wait: int | None, request: Request, response: Response) -> Score:
    """The score once it is decided, if the client would wait; as it is when the wait is over, or the client gone."""
    if wait is None:
        return score
    response.headers["Preference-Applied"] = "wait"
    hung_up = asyncio.create_task(_hung_up(request))
    try:
        return await state.settlements.wait(score, wait, unless=hung_up)
    finally:
        hung_up.cancel()


async def _hung_up(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _answer(response: Response, score: Score, event: Event | None, *, of: Score) -> ScoreResource:
    """Tells what has become of the word that `of` acknowledged. Raises Problem where it was rejected."""
    resource = ScoreResource.of(score, event)
    is_overtaken = score.version > of.version
    if is_overtaken:
        # Its own verdict may never be known: line_provider passes over what a later word has replaced.
        is_confirmed = (score.confirmed_version or 0) >= of.version
    elif score.state is ScoreState.REJECTED:
        raise _rejected(score, resource, dict(response.headers))
    else:
        is_confirmed = score.state is not ScoreState.PENDING
    if is_confirmed:
        is_first = score.version == 1
        response.status_code = status.HTTP_201_CREATED if is_first else status.HTTP_200_OK
    elif "Preference-Applied" in response.headers:
        response.headers["Retry-After"] = _RETRY_AFTER
    return resource


def _rejected(score: Score, resource: ScoreResource, headers: dict[str, str]) -> Problem:
    problem_type = _REJECTIONS.get(score.reason or "", SCORE_REJECTED)
    stands = f"Your rating of {score.value} stands again." if score.value else "No rating of yours stands."
    detail = f"line_provider has rejected your word on event {score.event_id} ({score.reason}). {stands}"
    return Problem(problem_type, detail, headers=headers, extensions={"score": resource.model_dump(mode="json")})


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
