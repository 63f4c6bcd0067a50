"""Every error that the API answers with, as RFC 9457 problem+json: one table."""

from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

MEDIA_TYPE = "application/problem+json"


@dataclass(frozen=True, slots=True)
class ProblemType:
    """A kind of error; its documentation is served at its `type`, /problems/NAME."""

    name: str
    status: HTTPStatus
    title: str
    explanation: str

    @property
    def uri(self) -> str:
        return f"/problems/{self.name}"


INVALID_REQUEST = ProblemType(
    "invalid-request",
    HTTPStatus.UNPROCESSABLE_ENTITY,
    "The request is not as it must be",
    "`errors` names each part of the request that is wrong and what it must be. Nothing was written.",
)
MALFORMED_JSON = ProblemType(
    "malformed-json",
    HTTPStatus.BAD_REQUEST,
    "The body is not JSON",
    "The body must be one JSON document in UTF-8. Nothing was written.",
)
NOT_JSON = ProblemType(
    "not-json",
    HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
    "The body is not declared as JSON",
    "Send the header `Content-Type: application/json` with the body. Nothing was written.",
)
MALFORMED_HTTP = ProblemType(
    "malformed-http",
    HTTPStatus.BAD_REQUEST,
    "This is not HTTP",
    "What came over the connection is no request in HTTP/1.1 (RFC 9112), so the connection is closed.",
)
HEADERS_TOO_LONG = ProblemType(
    "headers-too-long",
    HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE,
    "The headers are too long",
    "The request line and the headers may have 64 KiB together. The connection is closed.",
)
CONTENT_TOO_LARGE = ProblemType(
    "content-too-large",
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    "The body is too large",
    "Nothing that raters send is longer than a few dozen bytes; `detail` says how much this address takes. Nothing was "
    "written.",
)
UNKNOWN_TOKEN = ProblemType(
    "unknown-token",
    HTTPStatus.UNAUTHORIZED,
    "The token does not hold",
    "The header `Authorization: Bearer TOKEN` must carry a token that `POST /raters` minted; where there is no such "
    "operation, one of the issuer that this service trusts, made for this service and not expired.",
)
TOKEN_REQUIRED = ProblemType(
    "token-required",
    HTTPStatus.UNAUTHORIZED,
    "Only raters with a token can do this",
    "Send the header `Authorization: Bearer TOKEN` with a token of the issuer that this service trusts.",
)
OPERATOR_TOKEN_REQUIRED = ProblemType(
    "operator-token-required",
    HTTPStatus.UNAUTHORIZED,
    "Only the operators can do this",
    "Send the header `Authorization: Bearer TOKEN` with the token that this service was given as "
    "SCORE_MAKER_ADMIN_TOKEN.",
)
EVENT_NOT_FOUND = ProblemType(
    "event-not-found", HTTPStatus.NOT_FOUND, "There is no such event", "`GET /events` lists the events that there are."
)
EVENT_CLOSED = ProblemType(
    "event-closed",
    HTTPStatus.CONFLICT,
    "The event's deadline has passed",
    "Ratings can be given, changed and withdrawn until the event's deadline. What was accepted before still counts.",
)
EVENT_FINAL = ProblemType(
    "event-final", HTTPStatus.CONFLICT, "The event's result is final", "No rating changes it any more."
)
SCORE_REJECTED = ProblemType(
    "score-rejected",
    HTTPStatus.CONFLICT,
    "The rating was rejected",
    "line_provider, which owns the events, has rejected it for the reason that `detail` names. `score` shows your "
    "rating as it stands: the last one that was confirmed, if there is one.",
)
EVENT_UNCHANGEABLE = ProblemType(
    "event-unchangeable",
    HTTPStatus.CONFLICT,
    "The event cannot be changed any more",
    "An event that is cancelled, or whose result is final, stays as it is. Nothing was written.",
)
EXTERNAL_ID_TAKEN = ProblemType(
    "external-id-taken",
    HTTPStatus.CONFLICT,
    "There is an event with that external id already",
    "No two events have the same `external_id`. Nothing was written by this request; where it was a repetition, an "
    "earlier one was carried out.",
)
EVENT_CANCELLED = ProblemType(
    "event-cancelled",
    HTTPStatus.GONE,
    "The event was cancelled",
    "It takes no ratings any more. What was accepted before still stands.",
)
PRECONDITION_FAILED = ProblemType(
    "precondition-failed",
    HTTPStatus.PRECONDITION_FAILED,
    "Your score has another version",
    "The header `If-Match` or `If-None-Match` does not admit the version that your score of the event has. Nothing was "
    "written; `score` shows what there is.",
)
SCORE_NOT_FOUND = ProblemType(
    "score-not-found",
    HTTPStatus.NOT_FOUND,
    "You have not rated this event",
    "The rater whom the cookie or token names has never rated this event. `POST` to this address to rate it.",
)
NOT_FOUND = ProblemType(
    "not-found", HTTPStatus.NOT_FOUND, "There is nothing at this address", "`/docs` lists what there is."
)
METHOD_NOT_ALLOWED = ProblemType(
    "method-not-allowed",
    HTTPStatus.METHOD_NOT_ALLOWED,
    "This address does not take this method",
    "The header `Allow` of the answer lists the methods that it takes.",
)
TOO_MANY_REQUESTS = ProblemType(
    "too-many-requests",
    HTTPStatus.TOO_MANY_REQUESTS,
    "You write too often",
    "How often a rater and an address may write is limited, far beyond what raters need. Nothing was written. Repeat "
    "the request after the seconds that the header `Retry-After` names.",
)
LINE_PROVIDER_FAILED = ProblemType(
    "line-provider-failed",
    HTTPStatus.BAD_GATEWAY,
    "line_provider cannot do this",
    "line_provider, which owns the events, gave an answer that it should not give; `detail` has it. Where that is "
    "UNAUTHENTICATED or PERMISSION_DENIED, SCORE_MAKER_LINE_PROVIDER_TOKEN is not its LINE_PROVIDER_ADMIN_TOKEN.",
)
TOO_MANY_LISTENERS = ProblemType(
    "too-many-listeners",
    HTTPStatus.SERVICE_UNAVAILABLE,
    "Too many are told of changes already",
    "Telling one more would keep the others waiting, and those who rate. Load `GET /events` now and then, which costs "
    "little, and ask for the stream again after the seconds that the header `Retry-After` names.",
)
UNAVAILABLE = ProblemType(
    "unavailable",
    HTTPStatus.SERVICE_UNAVAILABLE,
    "The service cannot do this now",
    "The request was not acknowledged, though it may have been carried out: the connection to the database can break "
    "just then. Repeating it, after the seconds that the header `Retry-After` names, is safe.",
)
INTERNAL_ERROR = ProblemType(
    "internal-error",
    HTTPStatus.INTERNAL_SERVER_ERROR,
    "The service has failed",
    "It is a fault of the service, and it was logged. Repeating the request is safe.",
)

PROBLEM_TYPES = {
    problem_type.name: problem_type
    for problem_type in (
        INVALID_REQUEST,
        MALFORMED_JSON,
        NOT_JSON,
        MALFORMED_HTTP,
        HEADERS_TOO_LONG,
        CONTENT_TOO_LARGE,
        UNKNOWN_TOKEN,
        TOKEN_REQUIRED,
        OPERATOR_TOKEN_REQUIRED,
        EVENT_NOT_FOUND,
        EVENT_CLOSED,
        EVENT_FINAL,
        EVENT_CANCELLED,
        EVENT_UNCHANGEABLE,
        EXTERNAL_ID_TAKEN,
        SCORE_REJECTED,
        PRECONDITION_FAILED,
        SCORE_NOT_FOUND,
        NOT_FOUND,
        METHOD_NOT_ALLOWED,
        TOO_MANY_REQUESTS,
        LINE_PROVIDER_FAILED,
        TOO_MANY_LISTENERS,
        UNAVAILABLE,
        INTERNAL_ERROR,
    )
}


class Problem(Exception):
    """Raised by whatever serves a request; `detail` says what is wrong this time and what to do.

    `extensions` are further members of the document.
    """

    def __init__(
        self,
        problem_type: ProblemType,
        detail: str,
        *,
        headers: dict[str, str] | None = None,
        extensions: Mapping[str, object] | None = None,
    ) -> None:
        super().__init__(detail)
        self.problem_type = problem_type
        self.detail = detail
        self.headers = headers
        self.extensions = extensions or {}


def invalid_part(part: str, message: str) -> Problem:
    """The problem that a part of the request is not what it must be."""
    errors = [{"part": part, "message": message}]
    return Problem(INVALID_REQUEST, f"{part}: {message}.", extensions={"errors": errors})


def document(problem_type: ProblemType, detail: str, **members: object) -> dict[str, Any]:
    """The problem as JSON, with whatever more there is to say."""
    about = {"type": problem_type.uri, "title": problem_type.title, "status": problem_type.status.value}
    return {**about, "detail": detail, **members}
