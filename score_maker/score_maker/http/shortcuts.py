"""What most requests ask for, answered without the framework: plain ratings, and lists of events to unknown readers.

The framework takes several times as long to read such a request as all else of answering it takes. Each shortcut calls
what the framework's endpoint calls, in the same order, and leaves to that endpoint whatever is unusual about a request,
so that what is wrong with it is said there. The two must not differ in anything that a client sees.
"""

import re

from fastapi import FastAPI, Request, Response
from pydantic import ValidationError
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from score_maker import metrics
from score_maker.composition import AppState
from score_maker.http.headers.etag import answer
from score_maker.http.identity import count_write, known_rater, rater
from score_maker.http.middleware.observation import goes_by
from score_maker.http.scores.routes import ScoreSubmission, submit_score
from score_maker.http.scores.submit import score_submissions

_SCORE_PATH = re.compile(r"/events/([1-9][0-9]{0,17})/score")
_LONGEST_RATING = 64


class Shortcuts:
    """Around `app`, which is the framework's with what guards it."""

    def __init__(self, app: ASGIApp, framework: FastAPI) -> None:
        self._app = app
        self._framework = framework

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            request = Request(scope, receive)
            if scope["method"] == "POST" and (path := _SCORE_PATH.fullmatch(scope["path"])):
                if _may_be_plain_rating(request):
                    await self._rate(int(path[1]), request, send)
                    return
            elif scope["method"] == "GET" and scope["path"] == "/events" and _is_unknown_readers(request):
                state: AppState = request.state.app
                if listing := state.listings.get(scope["query_string"]):
                    goes_by(scope, "/events")
                    metrics.LISTING_CACHE_HITS.inc()
                    await answer(request, listing.document())(scope, receive, send)
                    return
        await self._app(scope, receive, send)

    async def _rate(self, event_id: int, request: Request, send: Send) -> None:
        message = await request.receive()
        submission = _plain_rating(message)
        if submission is None:
            await self._app(request.scope, _after(message, request.receive), send)
            return
        goes_by(request.scope, "/events/{event_id}/score")
        try:
            response = await _rated(event_id, submission, request)
        except Exception as error:  # noqa: BLE001 - answered as the framework has it
            response = await self._on_error(request, error)
        await response(request.scope, request.receive, send)

    async def _on_error(self, request: Request, error: Exception) -> Response:
        """As the framework's handlers have it."""
        handlers = self._framework.exception_handlers
        kind = next(kind for kind in type(error).__mro__ if kind in handlers)
        response: Response = await handlers[kind](request, error)  # type: ignore[misc]  # all of ours are asynchronous
        return response


async def _rated(event_id: int, submission: ScoreSubmission, request: Request) -> Response:
    state: AppState = request.state.app
    # Without the length of the body that it is yet to have, as the framework hands it out.
    response = Response()
    response.raw_headers.clear()
    known = await known_rater(request, state)
    await count_write(request, state, known)
    who = await rater(request, response, state, known)
    return await submit_score(event_id, submission, who, score_submissions(state, request, response))


def _may_be_plain_rating(request: Request) -> bool:
    length, is_json = b"", False
    for name, value in request.scope["headers"]:
        match name:
            case b"content-type":
                is_json = value == b"application/json"
            case b"content-length":
                length = value
    return is_json and length.isdigit() and int(length) <= _LONGEST_RATING


def _plain_rating(message: Message) -> ScoreSubmission | None:
    """Of a body that came in one piece."""
    if message["type"] != "http.request" or message.get("more_body"):
        return None
    try:
        return ScoreSubmission.model_validate_json(message["body"])
    except ValidationError:
        return None


def _is_unknown_readers(request: Request) -> bool:
    return "Cookie" not in request.headers and "Authorization" not in request.headers


def _after(message: Message, receive: Receive) -> Receive:
    """Receives the message again, and then what follows it."""
    messages = [message]

    async def receive_again() -> Message:
        return messages.pop() if messages else await receive()

    return receive_again
