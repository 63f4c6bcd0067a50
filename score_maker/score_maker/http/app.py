"""The ASGI application: the framework with its routes, and the middleware around it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version
from typing import TypedDict

from fastapi import FastAPI
from starlette.types import ASGIApp

from score_maker.composition import Services, open_services
from score_maker.http import health, identity, openapi
from score_maker.http.events.routes import router as events_router
from score_maker.http.events.views import EventViews
from score_maker.http.middleware.order import wrapped
from score_maker.http.ops import events as managed_events
from score_maker.http.ops import saga
from score_maker.http.pages import docs
from score_maker.http.pages import routes as pages
from score_maker.http.problems import handlers as problem_handlers
from score_maker.http.scores.routes import router as scores_router
from score_maker.settings import Settings


class LifespanState(TypedDict):
    """What Starlette copies into the state of each request."""

    services: Services
    views: EventViews


def create_app(settings: Settings) -> ASGIApp:
    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[LifespanState]:
        async with open_services(settings) as services:
            yield {"services": services, "views": EventViews.of(services, settings)}

    app = FastAPI(
        version=version("score-maker"),
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        # Observation records metrics and spans of all requests, also of those that do not reach the framework.
        telemetry={"tracing": False, "metrics": False, "logs": False},
        **openapi.described(settings),
    )
    problem_handlers.install(app)
    docs.install(app)
    openapi.install(app, settings)
    for router in (events_router, scores_router, health.router):
        app.include_router(router)
    if settings.identity == "anonymous":
        app.include_router(identity.router)
    if settings.admin_token is not None:
        app.include_router(saga.router)
        if settings.line_provider_token is not None:
            app.include_router(managed_events.router)
    pages.install(app, for_operators=settings.admin_token is not None)
    return wrapped(app, settings, larger_bodies=managed_events.LARGEST_BODIES)
