"""What OpenAPI says of the answers that carry a score: when each comes, its headers, and an example."""

from typing import Any

from score_maker.http.scores.resource import EXAMPLE, ScoreResource

Documentation = dict[int | str, dict[str, Any]]


def _header(description: str, example: str) -> dict[str, Any]:
    return {"description": description, "schema": {"type": "string"}, "example": example}


_ETAG = {"ETag": _header("Begins with the version; for `If-Match` and `If-None-Match`", '"1-5f0c2d1b9e3a"')}
_SUBMITTED = _ETAG | {
    "Location": _header("Where to look what becomes of it", "/events/17/score"),
    "Preference-Applied": _header("That the answer has waited as `Prefer` asks", "wait"),
}
_UNDECIDED = _SUBMITTED | {"Retry-After": _header("After how many seconds to look, where the wait was in vain", "1")}

_CONFIRMED = EXAMPLE | {"state": "confirmed", "confirmed_score": 5, "settled_at": "2026-06-11T21:07:03.592Z"}
_CHANGED = _CONFIRMED | {"version": 2, "score": 4, "confirmed_score": 4}
_WITHDRAWAL = EXAMPLE | {"version": 2, "score": None, "confirmed_score": 5}
_WITHDRAWN = _CONFIRMED | {"version": 2, "score": None, "state": "withdrawn", "confirmed_score": None}


def _score(description: str, headers: dict[str, Any], example: dict[str, Any]) -> dict[str, Any]:
    content = {"application/json": {"example": example}}
    return {"model": ScoreResource, "description": description, "headers": headers, "content": content}


SUBMITTED: Documentation = {
    200: _score("It is confirmed: a change, or what you had said before.", _SUBMITTED, _CHANGED),
    201: _score("Your first rating of the event is confirmed; only after a wait.", _SUBMITTED, _CONFIRMED),
    202: _score("It is stored for good, and line_provider has not ruled on it yet.", _UNDECIDED, EXAMPLE),
}
WITHDRAWN: Documentation = {
    200: _score("No rating of yours stands.", _SUBMITTED, _WITHDRAWN),
    202: _score("It is stored for good, and line_provider has not ruled on it yet.", _UNDECIDED, _WITHDRAWAL),
}
READ: Documentation = {
    200: _score("Your rating.", _ETAG, _CONFIRMED),
    304: {"description": "It is what `If-None-Match` names.", "headers": _ETAG},
}
