"""Routes of the framework that a plain handler answers: for the two hottest requests, POST …/score and GET /events.

The framework takes several times as long to solve the dependencies of such a request as everything else takes. So the
function that is routed is only documentation: its signature and docstring make the OpenAPI operation, and
`answered_by` names the handler that answers every such request. There is no second way: the framework's own router
calls the same handler.
"""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeVar

from fastapi import FastAPI, Request, Response
from fastapi.routing import APIRoute, iter_route_contexts
from starlette.types import Receive, Scope, Send

from score_maker.http.middleware.observation import set_route
from score_maker.http.problems.handlers import problem_of

Handler = Callable[[Request, Mapping[str, str]], Awaitable[Response]]
"""Answers a request, given the parameters of its path as they were sent. What it raises becomes a problem."""

F = TypeVar("F", bound=Callable[..., Any])

_HANDLER = "answered_by"


def answered_by(handler: Handler) -> Callable[[F], F]:
    """Says which handler answers the requests that the decorated function documents."""

    def mark(documentation: F) -> F:
        setattr(documentation, _HANDLER, handler)
        return documentation

    return mark


class PlainRoute(APIRoute):
    """A route whose endpoint was decorated with `answered_by`."""

    @property
    def handler(self) -> Handler:
        handler: Handler = getattr(self.endpoint, _HANDLER)
        return handler

    def get_route_handler(self) -> Callable[[Request], Any]:
        async def answer(request: Request) -> Response:
            return await _answer(self.handler, request, request.path_params)

        return answer


def plain_routes(framework: FastAPI) -> list[PlainRoute]:
    """Returns the plain routes of the app and of the routers that it includes.

    Raises TypeError if the route, its router or the app declares a dependency, which would be documented but never run.
    """
    plain = []
    for context in iter_route_contexts(framework.routes):
        if isinstance(context.original_route, PlainRoute):
            if context.dependant is not None and context.dependant.dependencies:
                raise TypeError(f"{context.path}: a plain route has no dependencies; its handler calls what it needs")
            plain.append(context.original_route)
    return plain


class PlainRoutesFirst:
    """Matches plain routes before anything of the framework runs; the framework answers all other requests."""

    def __init__(self, framework: FastAPI) -> None:
        self._framework = framework
        self._routes = [
            (method, route.path_regex, route.path_format, route.handler)
            for route in plain_routes(framework)
            for method in route.methods or ()
        ]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            for method, path_regex, route, handler in self._routes:
                if scope["method"] == method and (match := path_regex.match(scope["path"])):
                    set_route(scope, route)
                    response = await _answer(handler, Request(scope, receive), match.groupdict())
                    await response(scope, receive, send)
                    return
        await self._framework(scope, receive, send)


async def _answer(handler: Handler, request: Request, path_parameters: Mapping[str, Any]) -> Response:
    try:
        return await handler(request, path_parameters)
    except Exception as error:  # noqa: BLE001 - answered as a problem, and logged where it is the service's fault
        return await problem_of(request, error)
