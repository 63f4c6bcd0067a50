"""How failures become problems: one handler for each kind of exception, and the pages that explain the types."""

from collections.abc import Awaitable, Callable, Mapping
from http import HTTPStatus
from typing import Any
from urllib.parse import quote

import structlog
from fastapi import APIRouter, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, PlainTextResponse
from sqlalchemy.exc import SQLAlchemyError
from starlette.exceptions import HTTPException
from starlette.routing import Match

from score_maker.http.problems.types import (
    CONTENT_TOO_LARGE,
    INTERNAL_ERROR,
    INVALID_REQUEST,
    MALFORMED_JSON,
    MEDIA_TYPE,
    METHOD_NOT_ALLOWED,
    NOT_FOUND,
    NOT_JSON,
    PROBLEM_TYPES,
    UNAVAILABLE,
    Problem,
    ProblemType,
    document,
)
from score_maker.ratings.group_commit import Unavailable
from scoreline_common.database import is_unreachable

log = structlog.get_logger(__name__)

# The characters that RFC 3986 allows in a path unescaped.
_PATH_CHARACTERS = "/:@!$&'()*+,;=~"


def answer(
    request: Request,
    problem_type: ProblemType,
    detail: str,
    *,
    headers: dict[str, str] | None = None,
    extensions: Mapping[str, object] | None = None,
) -> JSONResponse:
    """Returns the problem as the response to the request."""
    instance = quote(request.url.path, safe=_PATH_CHARACTERS)
    if problem_type.status is HTTPStatus.SERVICE_UNAVAILABLE:
        headers = {"Retry-After": "1"} | (headers or {})
    body = document(problem_type, detail, instance=instance, **extensions or {})
    return JSONResponse(body, problem_type.status, headers, MEDIA_TYPE)


async def problem_of(request: Request, error: Exception) -> JSONResponse:
    """Returns the response to a request that raised this exception."""
    handle = next(handle for kind in type(error).__mro__ if (handle := _HANDLERS.get(kind)))
    return await handle(request, error)


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
    """The methods of all operations at the address; the framework names only those of the first one."""
    routes = request.app.routes
    return ", ".join(
        method
        for method in ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")
        if any(route.matches({**request.scope, "method": method})[0] is Match.FULL for route in routes)
    )


async def _on_unavailable(request: Request, _: Exception) -> JSONResponse:
    return answer(request, UNAVAILABLE, "The request was not acknowledged. Repeat it in a moment; that is safe.")


async def _on_database_error(request: Request, error: Exception) -> JSONResponse:
    if is_unreachable(error):
        log.warning("database_unreachable", error=str(error))
        return await _on_unavailable(request, error)
    return await _on_failure(request, error)


async def _on_failure(request: Request, error: Exception) -> JSONResponse:
    log.error("request_failed", method=request.method, path=request.url.path, exc_info=error)
    return answer(request, INTERNAL_ERROR, "The service failed. Repeating the request is safe.")


_HANDLERS: dict[type[Exception], Callable[[Request, Any], Awaitable[JSONResponse]]] = {
    Problem: _on_problem,
    RequestValidationError: _on_invalid_request,
    HTTPException: _on_http_exception,
    Unavailable: _on_unavailable,
    SQLAlchemyError: _on_database_error,
    OSError: _on_database_error,
    TimeoutError: _on_database_error,
    Exception: _on_failure,
}

router = APIRouter(include_in_schema=False)


@router.get("/problems")
async def explain_all() -> PlainTextResponse:
    """Explains all problem types."""
    return PlainTextResponse("\n\n".join(f"{each.uri}\n{_explanation(each)}" for each in PROBLEM_TYPES.values()))


@router.get("/problems/{name}")
async def explain(name: str) -> PlainTextResponse:
    """Explains a problem type, at the address in its `type`."""
    problem_type = PROBLEM_TYPES.get(name)
    if problem_type is None:
        raise Problem(NOT_FOUND, f"There is no problem type {name!r}; there are {', '.join(PROBLEM_TYPES)}.")
    return PlainTextResponse(_explanation(problem_type))


def _explanation(problem_type: ProblemType) -> str:
    return f"{problem_type.status.value} {problem_type.title}\n\n{problem_type.explanation}\n"


def install(app: FastAPI) -> None:
    """Makes the app answer every failure with a problem."""
    app.include_router(router)
    for kind, handle in _HANDLERS.items():
        app.exception_handler(kind)(handle)
