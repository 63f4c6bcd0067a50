"""Every error that the API answers with, as RFC 9457 problem+json: one table, and how failures become its rows."""

from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any
from urllib.parse import quote

import structlog
from fastapi import APIRouter, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, PlainTextResponse
from pydantic import BaseModel, Field
from pydantic.json_schema import models_json_schema
from sqlalchemy.exc import SQLAlchemyError
from starlette.exceptions import HTTPException
from starlette.routing import Match

from score_maker.database import is_unreachable
from score_maker.group_commit import Unavailable

log = structlog.get_logger(__name__)

MEDIA_TYPE = "application/problem+json"
# Those that a path may have as they are, by RFC 3986.
_PATH_CHARACTERS = "/:@!$&'()*+,;=~"
_SCHEMA_REF = "#/components/schemas/{model}"


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


class InvalidPart(BaseModel):
    """A part of the request that is wrong."""

    part: str = Field(examples=["body.score"])
    message: str = Field(examples=["Input should be less than or equal to 5"])


class ProblemDocument(BaseModel):
    """RFC 9457 problem details."""

    type: str = Field(
        examples=[INVALID_REQUEST.uri],
        description="Names the kind of problem, and is where it is explained: one of "
        + ", ".join(f"`{each.uri}`" for each in PROBLEM_TYPES.values()),
        json_schema_extra={"format": "uri-reference"},
    )
    title: str = Field(examples=[INVALID_REQUEST.title])
    status: int = Field(examples=[INVALID_REQUEST.status])
    detail: str = Field(
        examples=["body.score: Input should be less than or equal to 5."],
        description="What is wrong this time, and what to do",
    )
    instance: str = Field(
        examples=["/events/17/score"],
        description="The address of the request",
        json_schema_extra={"format": "uri-reference"},
    )
    errors: list[InvalidPart] | None = Field(default=None, description="Where the request is not as it must be")
    score: dict[str, Any] | None = Field(
        default=None, description="Your rating of the event as it stands, where that helps"
    )


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


def responses(*problem_types: ProblemType) -> dict[int | str, dict[str, Any]]:
    """What OpenAPI says of an operation that may answer with these problems."""
    by_status: dict[int, list[ProblemType]] = {}
    for problem_type in problem_types:
        by_status.setdefault(int(problem_type.status), []).append(problem_type)
    return {
        status: {
            "description": ". ".join(each.title for each in kinds) + ".",
            "content": {
                MEDIA_TYPE: {
                    "schema": {"$ref": _SCHEMA_REF.format(model=ProblemDocument.__name__)},
                    "examples": {each.name: {"summary": each.title, "value": _example(each)} for each in kinds},
                }
            },
            **({"headers": _HEADERS[status]} if status in _HEADERS else {}),
        }
        for status, kinds in by_status.items()
    }


_RETRY_AFTER = {"Retry-After": {"description": "Seconds to wait first", "schema": {"type": "integer", "minimum": 1}}}
_HEADERS: dict[int, dict[str, Any]] = {
    401: {"WWW-Authenticate": {"description": "`Bearer`", "schema": {"type": "string"}}},
    429: _RETRY_AFTER,
    503: _RETRY_AFTER,
}


def _example(problem_type: ProblemType) -> dict[str, Any]:
    example = document(problem_type, "What is wrong this time, and what to do.", instance="/events/17/score")
    if problem_type is INVALID_REQUEST:
        message = "Input should be less than or equal to 5"
        example |= {"detail": f"body.score: {message}.", "errors": [{"part": "body.score", "message": message}]}
    return example


def document(problem_type: ProblemType, detail: str, **members: object) -> dict[str, Any]:
    """The problem as JSON, with whatever more there is to say."""
    about = {"type": problem_type.uri, "title": problem_type.title, "status": problem_type.status.value}
    return {**about, "detail": detail, **members}


def answer(
    request: Request,
    problem_type: ProblemType,
    detail: str,
    *,
    headers: dict[str, str] | None = None,
    extensions: Mapping[str, object] | None = None,
) -> JSONResponse:
    """The problem as an answer to the request."""
    instance = quote(request.url.path, safe=_PATH_CHARACTERS)
    if problem_type.status is HTTPStatus.SERVICE_UNAVAILABLE:
        headers = {"Retry-After": "1"} | (headers or {})
    body = document(problem_type, detail, instance=instance, **extensions or {})
    return JSONResponse(body, problem_type.status, headers, MEDIA_TYPE)


async def _on_problem(request: Request, problem: Problem) -> JSONResponse:
    return answer(request, problem.problem_type, problem.detail, headers=problem.headers, extensions=problem.extensions)


async def _on_invalid_request(request: Request, invalid: RequestValidationError) -> JSONResponse:
    errors = [
        {"part": ".".join(map(str, error["loc"])), "message": error["msg"], "type": error["type"]}
        for error in invalid.errors()
    ]
    first = errors[0]
    if first["type"] == "json_invalid":
        return answer(request, MALFORMED_JSON, f"The body is not JSON: {invalid.errors()[0]['ctx']['error']}.")
    if isinstance(invalid.body, bytes) and invalid.body:
        declared = request.headers.get("Content-Type", "no content type")
        return answer(request, NOT_JSON, f"The body came as {declared}; send Content-Type: application/json.")
    parts = [{"part": error["part"], "message": error["message"]} for error in errors]
    detail = "; ".join(f"{part['part']}: {part['message']}" for part in parts) + "."
    return answer(request, INVALID_REQUEST, detail, extensions={"errors": parts})


async def _on_http_exception(request: Request, error: HTTPException) -> JSONResponse:
    """What the framework itself refuses."""
    if error.status_code == HTTPStatus.NOT_FOUND:
        return answer(request, NOT_FOUND, f"There is nothing at {request.url.path}; see /docs.")
    if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        allowed = _allowed_methods(request)
        detail = f"{request.url.path} takes {allowed}, not {request.method}."
        return answer(request, METHOD_NOT_ALLOWED, detail, headers={"Allow": allowed})
    if error.status_code == HTTPStatus.REQUEST_ENTITY_TOO_LARGE:
        return answer(request, CONTENT_TOO_LARGE, error.detail)
    if error.status_code == HTTPStatus.BAD_REQUEST:
        return answer(request, MALFORMED_JSON, "The body cannot be read as JSON.")
    return await _on_failure(request, error)


def _allowed_methods(request: Request) -> str:
    """What the address takes; the framework's own answer knows of the first operation at it only."""
    routes = request.app.routes
    return ", ".join(
        method
        for method in ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")
        if any(route.matches({**request.scope, "method": method})[0] is Match.FULL for route in routes)
    )


async def _on_unavailable(request: Request, _: Exception) -> JSONResponse:
    return answer(request, UNAVAILABLE, "The request was not acknowledged; repeat it in a moment, which is safe.")


async def _on_database_error(request: Request, error: Exception) -> JSONResponse:
    if is_unreachable(error):
        log.warning("database_unreachable", error=str(error))
        return await _on_unavailable(request, error)
    return await _on_failure(request, error)


async def _on_failure(request: Request, error: Exception) -> JSONResponse:
    log.error("request_failed", method=request.method, path=request.url.path, exc_info=error)
    return answer(request, INTERNAL_ERROR, "The service has failed; repeating the request is safe.")


router = APIRouter(include_in_schema=False)


@router.get("/problems")
async def explain_all() -> PlainTextResponse:
    """What all problem types mean."""
    return PlainTextResponse("\n\n".join(f"{each.uri}\n{_explained(each)}" for each in PROBLEM_TYPES.values()))


@router.get("/problems/{name}")
async def explain(name: str) -> PlainTextResponse:
    """What a problem type means, at the address that its `type` names."""
    problem_type = PROBLEM_TYPES.get(name)
    if problem_type is None:
        raise Problem(NOT_FOUND, f"There is no problem type {name!r}; there are {', '.join(PROBLEM_TYPES)}.")
    return PlainTextResponse(_explained(problem_type))


def _explained(problem_type: ProblemType) -> str:
    return f"{problem_type.status.value} {problem_type.title}\n\n{problem_type.explanation}\n"


def install(app: FastAPI) -> None:
    """Has the app answer every failure with a problem."""
    app.include_router(router)
    app.exception_handler(Problem)(_on_problem)
    app.exception_handler(RequestValidationError)(_on_invalid_request)
    app.exception_handler(HTTPException)(_on_http_exception)
    app.exception_handler(Unavailable)(_on_unavailable)
    for error in (SQLAlchemyError, OSError, TimeoutError):
        app.exception_handler(error)(_on_database_error)
    app.exception_handler(Exception)(_on_failure)


def schemas() -> dict[str, Any]:
    """OpenAPI's schemas of problems. Given to operations as a model, FastAPI would have them come as plain JSON too."""
    _, definitions = models_json_schema([(ProblemDocument, "serialization")], ref_template=_SCHEMA_REF)
    documented: dict[str, Any] = definitions["$defs"]
    return documented
