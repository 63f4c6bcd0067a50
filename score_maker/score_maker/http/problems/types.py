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
    "Invalid request",
    "`errors` names each invalid part of the request and says what it must be. Nothing was written.",
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
    "Malformed HTTP request",
    "What was sent is not an HTTP/1.1 request (RFC 9112), so the connection is closed.",
)
HEADERS_TOO_LONG = ProblemType(
    "headers-too-long",
    HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE,
    "The headers are too long",
    "The request line and the headers together may have 64 KiB. The connection is closed.",
)
CONTENT_TOO_LARGE = ProblemType(
    "content-too-large",
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    "The body is too large",
    "Nothing that raters send exceeds a few dozen bytes; `detail` says how much this address accepts. Nothing was "
    "written.",
)
UNKNOWN_TOKEN = ProblemType(
    "unknown-token",
    HTTPStatus.UNAUTHORIZED,
    "Invalid or expired token",
    "The header `Authorization: Bearer TOKEN` must have a token that `POST /raters` minted; if there is no such "
    "operation, a token of the issuer that this service trusts, issued for this service and not expired.",
)
TOKEN_REQUIRED = ProblemType(
    "token-required",
    HTTPStatus.UNAUTHORIZED,
    "Token required",
    "Send the header `Authorization: Bearer TOKEN` with a token of the issuer that this service trusts.",
)
OPERATOR_TOKEN_REQUIRED = ProblemType(
    "operator-token-required",
    HTTPStatus.UNAUTHORIZED,
    "Operators' token required",
    "Send the header `Authorization: Bearer TOKEN` with the token in the setting SCORE_MAKER_ADMIN_TOKEN.",
)
EVENT_NOT_FOUND = ProblemType(
    "event-not-found", HTTPStatus.NOT_FOUND, "Event not found", "`GET /events` lists the events."
)
EVENT_CLOSED = ProblemType(
    "event-closed",
    HTTPStatus.CONFLICT,
    "The event's deadline has passed",
    "Ratings can be given, changed and withdrawn until the event's deadline. What was accepted before still counts.",
)
EVENT_FINAL = ProblemType(
    "event-final",
    HTTPStatus.CONFLICT,
    "The event's result is final",
    "It takes no more ratings, and no rating changes any more.",
)
SCORE_REJECTED = ProblemType(
    "score-rejected",
    HTTPStatus.CONFLICT,
    "The rating was rejected",
    "line_provider, which owns the events, rejected it for the reason in `detail`. `score` shows your rating as it "
    "stands: the last confirmed one, if there is one.",
)
EVENT_UNCHANGEABLE = ProblemType(
    "event-unchangeable",
    HTTPStatus.CONFLICT,
    "The event can no longer be changed",
    "An event that is cancelled, or whose result is final, stays as it is. Nothing was written.",
)
EXTERNAL_ID_TAKEN = ProblemType(
    "external-id-taken",
    HTTPStatus.CONFLICT,
    "External id already in use",
    "No two events have the same `external_id`. This request wrote nothing; if it is a repetition, the earlier one was "
    "carried out.",
)
EVENT_CANCELLED = ProblemType(
    "event-cancelled",
    HTTPStatus.GONE,
    "The event was cancelled",
    "It takes no more ratings. What was accepted before still stands.",
)
PRECONDITION_FAILED = ProblemType(
    "precondition-failed",
    HTTPStatus.PRECONDITION_FAILED,
    "Your score has another version",
    "The header `If-Match` or `If-None-Match` excludes the version that your score of the event has. Nothing was "
    "written; `score` shows your score.",
)
SCORE_NOT_FOUND = ProblemType(
    "score-not-found",
    HTTPStatus.NOT_FOUND,
    "You have not rated this event",
    "The rater identified by the cookie or token has never rated this event. `POST` to this address to rate it.",
)
NOT_FOUND = ProblemType("not-found", HTTPStatus.NOT_FOUND, "Not found", "`/docs` lists the addresses of the API.")
METHOD_NOT_ALLOWED = ProblemType(
    "method-not-allowed",
    HTTPStatus.METHOD_NOT_ALLOWED,
    "Method not allowed",
    "The header `Allow` of the response lists the methods that this address supports.",
)
TOO_MANY_REQUESTS = ProblemType(
    "too-many-requests",
    HTTPStatus.TOO_MANY_REQUESTS,
    "Too many requests",
    "The number of writes is limited for each rater and each address, far above what raters need. Nothing was written. "
    "Repeat the request after the seconds in the header `Retry-After`.",
)
LINE_PROVIDER_FAILED = ProblemType(
    "line-provider-failed",
    HTTPStatus.BAD_GATEWAY,
    "line_provider failed",
    "line_provider, which owns the events, gave an answer outside its contract, shown in `detail`. If that is "
    "UNAUTHENTICATED or PERMISSION_DENIED, SCORE_MAKER_LINE_PROVIDER_TOKEN is not its LINE_PROVIDER_ADMIN_TOKEN.",
)
TOO_MANY_LISTENERS = ProblemType(
    "too-many-listeners",
    HTTPStatus.SERVICE_UNAVAILABLE,
    "Too many event-stream subscribers",
    "One more subscriber would delay the others, and ratings. Load `GET /events` from time to time, which is cheap, "
    "and subscribe again after the seconds in the header `Retry-After`.",
)
UNAVAILABLE = ProblemType(
    "unavailable",
    HTTPStatus.SERVICE_UNAVAILABLE,
    "Service unavailable",
    "The request was not acknowledged, though it may have been carried out: the connection to the database can break "
    "at that moment. Repeating it, after the seconds in the header `Retry-After`, is safe.",
)
INTERNAL_ERROR = ProblemType(
    "internal-error",
    HTTPStatus.INTERNAL_SERVER_ERROR,
    "Internal server error",
    "This is a fault of the service, and it was logged. Repeating the request is safe.",
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
    """Raised while a request is served; `detail` says what is wrong in this case and what to do.

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
    """Returns the problem that a part of the request is invalid."""
    errors = [{"part": part, "message": message}]
    return Problem(INVALID_REQUEST, f"{part}: {message}.", extensions={"errors": errors})


def document(problem_type: ProblemType, detail: str, **members: object) -> dict[str, Any]:
    """Returns the problem as JSON, with further members."""
    about = {"type": problem_type.uri, "title": problem_type.title, "status": problem_type.status.value}
    return {**about, "detail": detail, **members}
