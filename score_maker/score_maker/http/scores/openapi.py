"""The OpenAPI documentation of responses that carry a score: when each is sent, its headers, and an example."""

from typing import Any

from score_maker.http.scores.resource import EXAMPLE, ScoreResource

Documentation = dict[int | str, dict[str, Any]]


def _header(description: str, example: str) -> dict[str, Any]:
    return {"description": description, "schema": {"type": "string"}, "example": example}


_ETAG = {"ETag": _header("Begins with the version; for `If-Match` and `If-None-Match`", '"1-5f0c2d1b9e3a"')}
_SUBMITTED = _ETAG | {
    "Location": _header("Where its state can be read", "/events/17/score"),
    "Preference-Applied": _header("Set if the response has waited as `Prefer` asks", "wait"),
}
_UNDECIDED = _SUBMITTED | {
    "Retry-After": _header("Seconds after which to look, if the wait ended without a verdict", "1")
}

_CONFIRMED = EXAMPLE | {"state": "confirmed", "confirmed_score": 5, "settled_at": "2026-06-11T21:07:03.592Z"}
_CHANGED = _CONFIRMED | {"version": 2, "score": 4, "confirmed_score": 4}
_WITHDRAWAL = EXAMPLE | {"version": 2, "score": None, "confirmed_score": 5}
_WITHDRAWN = _CONFIRMED | {"version": 2, "score": None, "state": "withdrawn", "confirmed_score": None}


def _score(description: str, headers: dict[str, Any], example: dict[str, Any]) -> dict[str, Any]:
    content = {"application/json": {"example": example}}
    return {"model": ScoreResource, "description": description, "headers": headers, "content": content}


SUBMITTED: Documentation = {
    200: _score("It is confirmed: a change, or a repetition of your current rating.", _SUBMITTED, _CHANGED),
    201: _score("Your first rating of the event is confirmed; sent only after a wait.", _SUBMITTED, _CONFIRMED),
    202: _score("It is stored durably; line_provider has not decided on it yet.", _UNDECIDED, EXAMPLE),
}
WITHDRAWN: Documentation = {
    200: _score("No rating of yours stands.", _SUBMITTED, _WITHDRAWN),
    202: _score("It is stored durably; line_provider has not decided on it yet.", _UNDECIDED, _WITHDRAWAL),
}
READ: Documentation = {
    200: _score("Your rating.", _ETAG, _CONFIRMED),
    304: {"description": "You have it already: `If-None-Match` names its `ETag`.", "headers": _ETAG},
}
