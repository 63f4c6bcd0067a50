"""Plain routes: one handler however a request is routed, and no dependency that would silently not run."""

from collections.abc import Mapping
from typing import Annotated

import pytest
from fastapi import Depends, FastAPI, Request, Response
from fastapi.routing import APIRouter
from httpx import ASGITransport, AsyncClient

from score_maker.http.plain_route import PlainRoute, PlainRoutesFirst, answered_by
from score_maker.http.problems import handlers
from score_maker.http.problems.types import EVENT_NOT_FOUND, Problem


async def _greet(_: Request, path: Mapping[str, str]) -> Response:
    if path["name"] == "nobody":
        raise Problem(EVENT_NOT_FOUND, "There is nobody.")
    if path["name"] == "trouble":
        raise LookupError("unexpected")
    return Response(f"hello {path['name']}", media_type="text/plain")


@answered_by(_greet)
async def greet(name: str) -> None:
    """Greets."""


async def _forbid() -> None:
    raise AssertionError("it never runs")


def app_with_greeting() -> FastAPI:
    app, router = FastAPI(), APIRouter()
    router.add_api_route("/greetings/{name}", greet, methods=["GET"], route_class_override=PlainRoute)
    app.include_router(router)
    handlers.install(app)
    return app


@pytest.mark.parametrize("is_first", [True, False], ids=["before the framework", "by the framework's router"])
@pytest.mark.parametrize(
    ("name", "status", "told"), [("anna", 200, "hello anna"), ("nobody", 404, "nobody"), ("trouble", 500, "failed")]
)
async def test_the_handler_answers_however_the_request_is_routed(
    is_first: bool, name: str, status: int, told: str
) -> None:
    app = app_with_greeting()
    transport = ASGITransport(PlainRoutesFirst(app) if is_first else app, raise_app_exceptions=False)
    async with AsyncClient(transport=transport, base_url="http://test") as client:
        response = await client.get(f"/greetings/{name}")
    assert response.status_code == status
    assert told in response.text


async def test_the_framework_answers_other_methods_and_addresses() -> None:
    transport = ASGITransport(PlainRoutesFirst(app_with_greeting()))
    async with AsyncClient(transport=transport, base_url="http://test") as client:
        refused = await client.post("/greetings/anna")
        missing = await client.get("/greetings/anna/more")
    assert (refused.status_code, refused.headers["Allow"], missing.status_code) == (405, "GET", 404)


def test_the_openapi_operation_is_derived_from_the_handlers_signature() -> None:
    operation = app_with_greeting().openapi()["paths"]["/greetings/{name}"]["get"]
    assert operation["description"] == "Greets."
    assert [parameter["name"] for parameter in operation["parameters"]] == ["name"]


@pytest.mark.parametrize("of", ["the signature", "the route", "the router", "the app"])
def test_a_dependency_is_refused_at_startup_because_it_would_never_run(of: str) -> None:
    @answered_by(_greet)
    async def greet_members(name: str, _: Annotated[None, Depends(_forbid)]) -> None:
        """Greets members."""

    forbid = [Depends(_forbid)]
    app = FastAPI(dependencies=forbid if of == "the app" else None)
    router = APIRouter(dependencies=forbid if of == "the router" else None)
    router.add_api_route(
        "/greetings/{name}",
        greet_members if of == "the signature" else greet,
        dependencies=forbid if of == "the route" else None,
        route_class_override=PlainRoute,
    )
    app.include_router(router)
    with pytest.raises(TypeError, match=r"/greetings/\{name\}: a plain route has no dependencies"):
        PlainRoutesFirst(app)
