"""Answers submissions: reads what a request asks for, has it taken, and says what has become of it."""

import asyncio
from datetime import UTC
from http import HTTPStatus
from typing import Annotated

from fastapi import Header, Request, Response
from pydantic import WithJsonSchema

from score_maker.composition import Services
from score_maker.events.event import Event
from score_maker.http.events.routes import event_not_found
from score_maker.http.headers.preconditions import preconditions
from score_maker.http.headers.prefer import wait_seconds
from score_maker.http.identity import keep_cookie, mint_rater, rater_after_erasure
from score_maker.http.middleware.observation import exclude_from_latency
from score_maker.http.problems.types import (
    EVENT_CANCELLED,
    EVENT_CLOSED,
    EVENT_FINAL,
    EVENT_NOT_FOUND,
    PRECONDITION_FAILED,
    SCORE_NOT_FOUND,
    SCORE_REJECTED,
    Problem,
    ProblemType,
)
from score_maker.http.scores.resource import ScoreResource, document_of
from score_maker.identity.accounts import Subject
from score_maker.identity.anonymous import Rater
from score_maker.ratings.domain import OtherVersion, Reason, Refusal, Score, State, Unchanged
from score_maker.ratings.submissions import UNCONDITIONAL

LONGEST_WAIT_SECONDS = 30
# When to look again for a verdict that did not arrive within the wait.
_RETRY_AFTER = "1"

_OPTIONAL_HEADERS = frozenset({b"prefer", b"if-match", b"if-none-match"})

_REJECTIONS: dict[Reason | None, ProblemType] = {
    Reason.EVENT_NOT_FOUND: EVENT_NOT_FOUND,
    Reason.EVENT_CANCELLED: EVENT_CANCELLED,
    Reason.EVENT_FINAL: EVENT_FINAL,
    Reason.DEADLINE_PASSED: EVENT_CLOSED,
}

Prefer = Annotated[
    str | None,
    WithJsonSchema({"type": "string"}),
    Header(
        description=f"`wait=SECONDS` (RFC 7240): answer once it is decided; {LONGEST_WAIT_SECONDS} at most",
        examples=["wait=10"],
    ),
]


async def submit(
    request: Request, services: Services, event_id: int, known: Rater | Subject | None, value: int | None
) -> Response:
    """Takes a rating or, with no value, a withdrawal, and waits for the verdict as long as the client prefers to.

    A rater is made up for a rating without one. Raises Problem if it was refused or rejected, and Unavailable.
    """
    conditions, wait = UNCONDITIONAL, None
    # Most submissions have none of these headers, and one look at all names is cheaper than one for each.
    if any(name in _OPTIONAL_HEADERS for name, _ in request.scope["headers"]):
        conditions = preconditions(request)
        wait = wait_seconds(request.headers.getlist("Prefer"), at_most=LONGEST_WAIT_SECONDS)
    if known is None and value is None:
        raise score_not_found(event_id)
    rater = known or mint_rater(services)
    taken = await services.submissions.take(event_id, rater, value, conditions)
    if taken.outcome is Refusal.RATER_ERASED and value is not None:
        rater = rater_after_erasure(request, services)
        taken = await services.submissions.take(event_id, rater, value, conditions)
    match taken.outcome:
        case Refusal() as refusal:
            raise _refused(refusal, event_id, taken.event)
        case OtherVersion(score):
            raise _other_version(event_id, score, taken.event)
        case Unchanged(submitted):
            is_new = False
        case Score() as submitted:
            is_new = submitted.version == 1
    headers = {"Location": f"/events/{event_id}/score"}
    if value is not None:
        headers |= keep_cookie(request, rater)
    if wait is None:
        return _answer(submitted, submitted, taken.event, headers, is_new=is_new)
    headers["Preference-Applied"] = "wait"
    decided = await _wait(request, services, submitted, wait)
    return _answer(submitted, decided, taken.event, headers, is_new=is_new)


async def _wait(request: Request, services: Services, submitted: Score, seconds: int) -> Score:
    """Returns the score once it is decided; as it is when the wait ends or the client hangs up."""
    exclude_from_latency(request.scope)
    hung_up = asyncio.create_task(_hung_up(request))
    try:
        return await services.waiters.wait(submitted, seconds, unless=hung_up)
    finally:
        hung_up.cancel()


async def _hung_up(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _answer(submitted: Score, score: Score, event: Event | None, headers: dict[str, str], *, is_new: bool) -> Response:
    """Says what the submitted version has become. Raises Problem if it was rejected."""
    if score.version > submitted.version:
        # Its own verdict may never be known: line_provider skips a version that a later one has replaced.
        is_decided = (score.confirmed_version or 0) >= submitted.version
        is_new = False
    elif score.state is State.REJECTED and submitted.state is State.PENDING:
        raise _rejected(score, ScoreResource.of(score, event), headers)
    else:
        is_decided = score.state is not State.PENDING
    status = HTTPStatus.ACCEPTED
    if is_decided:
        status = HTTPStatus.CREATED if is_new else HTTPStatus.OK
    elif "Preference-Applied" in headers:
        headers["Retry-After"] = _RETRY_AFTER
    document = document_of(score, event)
    headers["ETag"] = document.etag
    return Response(document.body, status, headers, "application/json")


def score_not_found(event_id: int) -> Problem:
    return Problem(SCORE_NOT_FOUND, f"You have not rated event {event_id}; POST a score to this address to rate it.")


def _refused(refusal: Refusal, event_id: int, event: Event | None) -> Problem:
    match refusal:
        case Refusal.NOTHING_TO_WITHDRAW | Refusal.RATER_ERASED:
            return score_not_found(event_id)
        case Refusal.EVENT_NOT_FOUND:
            return event_not_found(event_id)
        case Refusal.EVENT_CANCELLED:
            return Problem(EVENT_CANCELLED, f"Event {event_id} was cancelled and takes no more ratings.")
        case Refusal.EVENT_FINAL:
            return Problem(EVENT_FINAL, f"The result of event {event_id} is final.")
        case Refusal.DEADLINE_PASSED:
            when = f" at {event.deadline.astimezone(UTC).isoformat()}" if event else ""
            return Problem(EVENT_CLOSED, f"Event {event_id} could be rated until its deadline, which passed{when}.")


def _other_version(event_id: int, score: Score | None, event: Event | None) -> Problem:
    if score is None:
        return Problem(PRECONDITION_FAILED, f"You have not rated event {event_id}.")
    detail = f"Your score of event {event_id} has version {score.version}."
    etag, resource = document_of(score, event).etag, ScoreResource.of(score, event)
    headers = {"ETag": etag}
    return Problem(PRECONDITION_FAILED, detail, headers=headers, extensions={"score": resource.model_dump(mode="json")})


def _rejected(score: Score, resource: ScoreResource, headers: dict[str, str]) -> Problem:
    problem_type = _REJECTIONS.get(score.reason, SCORE_REJECTED)
    stands = f"Your rating of {score.value} stands again." if score.value else "No rating of yours stands."
    detail = f"line_provider rejected your submission on event {score.event_id} ({score.reason}). {stands}"
    return Problem(problem_type, detail, headers=headers, extensions={"score": resource.model_dump(mode="json")})
