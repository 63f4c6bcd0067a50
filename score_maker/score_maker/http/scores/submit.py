"""How a word of a rater, a rating or a withdrawal, is taken and answered.

Where the event is known, what it cannot take is refused at once; where it cannot be known (line_provider is away and
the event not in the catalog), the word is taken and the saga decides.
"""

import asyncio
from dataclasses import dataclass
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Annotated
from uuid import UUID

from fastapi import Depends, Header, Request, Response
from pydantic import WithJsonSchema

from score_maker import metrics
from score_maker.composition import AppState, State
from score_maker.events.catalog import Event, Phase
from score_maker.events.feed import EventUnknowable
from score_maker.http.events.routes import event_not_found
from score_maker.http.headers.etag import Document
from score_maker.http.headers.preconditions import IfMatch, IfNoneMatch, Preconditions, preconditions
from score_maker.http.headers.prefer import wait_seconds
from score_maker.http.identity import another_rater, rater_id_of
from score_maker.http.middleware.observation import waits
from score_maker.http.problems.types import (
    EVENT_CANCELLED,
    EVENT_CLOSED,
    EVENT_FINAL,
    EVENT_NOT_FOUND,
    PRECONDITION_FAILED,
    SCORE_NOT_FOUND,
    SCORE_REJECTED,
    Problem,
)
from score_maker.http.scores.resource import ScoreResource
from score_maker.identity.anonymous import Rater, Subject
from score_maker.ratings.accept import Submission
from score_maker.ratings.domain import OtherVersion, Outcome, Refusal, Score, Unchanged
from score_maker.ratings.domain import State as ScoreState
from scoreline_common.telemetry.tracing import traceparent

LONGEST_WAIT_SECONDS = 30
# When to look again at what was not decided within the wait.
_RETRY_AFTER = "1"

_REJECTIONS = {
    "event_not_found": EVENT_NOT_FOUND,
    "event_cancelled": EVENT_CANCELLED,
    "event_final": EVENT_FINAL,
    "deadline_passed": EVENT_CLOSED,
}


_CONDITIONS = frozenset({b"prefer", b"if-match", b"if-none-match"})

_Prefer = Annotated[
    str | None,
    WithJsonSchema({"type": "string"}),
    Header(
        description=f"`wait=SECONDS` (RFC 7240): answer when it is decided; {LONGEST_WAIT_SECONDS} at most",
        examples=["wait=10"],
    ),
]


@dataclass(frozen=True, slots=True)
class _ScoreSubmissions:
    """Takes the one word of a request, and knows on which conditions and how long its client would wait.

    `response` is what the word is answered with. It may bear a cookie already.
    """

    state: AppState
    request: Request
    response: Response
    preconditions: Preconditions
    wait: int | None

    async def submit(
        self, event_id: int, rater: Rater | Subject, value: int | None, *, forgotten: UUID | None = None
    ) -> Response:
        """Answers with the score after the word (no value: a withdrawal), decided as far as the client would wait.

        `forgotten` is an id under which it was refused already. Raises Problem where it was refused or rejected, and
        Unavailable.
        """
        event = await _ratable_event(self.state, event_id)
        rater_id = await rater_id_of(self.state, rater, makes_one=value is not None, forgotten=forgotten)
        if rater_id is None:
            raise score_not_found(event_id)
        submission = Submission(
            event_id,
            rater_id,
            value,
            event.deadline if event else None,
            if_match=self.preconditions.if_match,
            if_none_match=self.preconditions.if_none_match,
            trace_context=traceparent(),
        )
        outcome = await self.state.group_commit.submit(submission)
        metrics.submission_counter(_named(outcome)).inc()
        match outcome:
            case Refusal.RATER_FORGOTTEN if isinstance(rater, Subject):
                return await self.submit(event_id, rater, value, forgotten=rater_id)
            case Refusal.RATER_FORGOTTEN if value is not None:
                return await self.submit(event_id, another_rater(self.request, self.response, self.state), value)
            case Refusal() as refusal:
                raise _refused(refusal, event_id, event)
            case OtherVersion(score):
                raise _other_version(event_id, ScoreResource.of(score, event) if score else None)
            case Unchanged(submitted):
                is_new = False
            case Score() as submitted:
                is_new = submitted.version == 1
        self.response.headers.append("Location", f"/events/{event_id}/score")
        return self._answer(submitted, await self._decided(submitted), event, is_new=is_new)

    async def _decided(self, score: Score) -> Score:
        """The score once it is decided, if the client would wait; as it is when the wait ends, or the client left."""
        if self.wait is None:
            return score
        self.response.headers["Preference-Applied"] = "wait"
        waits(self.request.scope)
        hung_up = asyncio.create_task(_hung_up(self.request))
        try:
            return await self.state.settlements.wait(score, self.wait, unless=hung_up)
        finally:
            hung_up.cancel()

    def _answer(self, submitted: Score, score: Score, event: Event | None, *, is_new: bool) -> Response:
        """Tells what the submitted version has become. Raises Problem where it was rejected."""
        resource = ScoreResource.of(score, event)
        if score.version > submitted.version:
            # Its own verdict may never be known: line_provider passes over what a later word has replaced.
            is_decided = (score.confirmed_version or 0) >= submitted.version
            is_new = False
        elif score.state is ScoreState.REJECTED and submitted.state is ScoreState.PENDING:
            raise _rejected(score, resource, dict(self.response.headers))
        else:
            is_decided = score.state is not ScoreState.PENDING
        status = HTTPStatus.ACCEPTED
        if is_decided:
            status = HTTPStatus.CREATED if is_new else HTTPStatus.OK
        elif self.wait is not None:
            self.response.headers["Retry-After"] = _RETRY_AFTER
        return self._completed(status, resource.document())

    def _completed(self, status: HTTPStatus, document: Document) -> Response:
        self.response.status_code = status
        headers = self.response.headers
        headers.append("ETag", document.etag)
        headers.append("Content-Type", "application/json")
        headers.append("Content-Length", str(len(document.body)))
        self.response.body = document.body
        return self.response


def score_submissions(state: AppState, request: Request, response: Response) -> _ScoreSubmissions:
    """What the request's headers ask for. `response` has no headers but cookies yet. Raises Problem where the
    conditions cannot be read."""
    if _CONDITIONS.isdisjoint(name for name, _ in request.scope["headers"]):
        return _ScoreSubmissions(state, request, response, Preconditions(None, None), None)
    wait = wait_seconds(request.headers.getlist("Prefer"), at_most=LONGEST_WAIT_SECONDS)
    return _ScoreSubmissions(state, request, response, preconditions(request), wait)


# The headers are named for OpenAPI, where each is one line; they may come in several.
async def _submissions(
    state: State,
    request: Request,
    response: Response,
    prefer: _Prefer = None,  # noqa: ARG001
    if_match: IfMatch = None,  # noqa: ARG001
    if_none_match: IfNoneMatch = None,  # noqa: ARG001
) -> _ScoreSubmissions:
    return score_submissions(state, request, response)


ScoreSubmissions = Annotated[_ScoreSubmissions, Depends(_submissions)]


def _named(outcome: Outcome) -> str:
    match outcome:
        case Score():
            return "accepted"
        case Unchanged():
            return "unchanged"
        case OtherVersion():
            return "other_version"
        case Refusal() as refusal:
            return refusal


def score_not_found(event_id: int) -> Problem:
    return Problem(SCORE_NOT_FOUND, f"You have not rated event {event_id}; POST a score to this address to rate it.")


async def _hung_up(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


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


def _refused(refusal: Refusal, event_id: int, event: Event | None) -> Problem:
    match refusal:
        case Refusal.NOTHING_TO_WITHDRAW | Refusal.RATER_FORGOTTEN:
            return score_not_found(event_id)
        case Refusal.EVENT_FINAL:
            return Problem(EVENT_FINAL, f"The result of event {event_id} is final.")
        case Refusal.DEADLINE_PASSED:
            when = f" at {event.deadline.isoformat()}" if event else ""
            return Problem(EVENT_CLOSED, f"Event {event_id} could be rated until its deadline, which passed{when}.")


def _other_version(event_id: int, resource: ScoreResource | None) -> Problem:
    if resource is None:
        return Problem(PRECONDITION_FAILED, f"You have not rated event {event_id}.")
    detail = f"Your score of event {event_id} is of version {resource.version}."
    headers = {"ETag": resource.document().etag}
    return Problem(PRECONDITION_FAILED, detail, headers=headers, extensions={"score": resource.model_dump(mode="json")})


def _rejected(score: Score, resource: ScoreResource, headers: dict[str, str]) -> Problem:
    problem_type = _REJECTIONS.get(score.reason or "", SCORE_REJECTED)
    stands = f"Your rating of {score.value} stands again." if score.value else "No rating of yours stands."
    detail = f"line_provider has rejected your word on event {score.event_id} ({score.reason}). {stands}"
    return Problem(problem_type, detail, headers=headers, extensions={"score": resource.model_dump(mode="json")})
