"""The FastAPI application: its routes, and the state that lives as long as it serves."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version
from typing import TypedDict

from fastapi import FastAPI
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from score_maker.composition import AppState, open_state
from score_maker.http import health, identity, openapi
from score_maker.http.events.routes import router as events_router
from score_maker.http.middleware.guards import BodyLimit, SecurityHeaders
from score_maker.http.middleware.observation import Observation
from score_maker.http.ops import events as managed_events
from score_maker.http.ops import saga
from score_maker.http.pages import docs
from score_maker.http.pages import routes as pages
from score_maker.http.problems import handlers as problem_handlers
from score_maker.http.scores.routes import router as scores_router
from score_maker.http.shortcuts import Shortcuts
from score_maker.settings import Settings


class _LifespanState(TypedDict):
    app: AppState


def create_app(settings: Settings) -> ASGIApp:
    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[_LifespanState]:
        async with open_state(settings) as state:
            yield {"app": state}

    app = FastAPI(
        version=version("score-maker"),
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        # A span for each request, where there is anywhere to export it to; metrics are Prometheus's.
        telemetry={"operation_spans": False, "metrics": False, "logs": False},
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
    return Observation(_guarded(app, settings))


def _guarded(framework: FastAPI, settings: Settings) -> ASGIApp:
    """Around all of the framework, so that its answer to an unforeseen failure goes the same way."""
    app: ASGIApp = BodyLimit(framework, larger=managed_events.LARGEST_BODIES)
    if settings.otlp_endpoint is None:
        # The framework's spans are of the requests that it sees.
        app = Shortcuts(app, framework)
    app = SecurityHeaders(app)
    if settings.cors_origins:
        app = CORSMiddleware(
            app,
            allow_origins=settings.cors_origins,
            allow_credentials=True,
            allow_methods=("GET", "POST", "DELETE"),
            allow_headers=("Authorization", "Content-Type", "If-Match", "If-None-Match", "Last-Event-ID", "Prefer"),
            expose_headers=("ETag", "Location", "Preference-Applied", "Retry-After", "X-Request-ID"),
        )
    if settings.trusted_proxies:
        # Outermost, as the others go by the scheme that it finds.
        app = ProxyHeadersMiddleware(app, trusted_hosts=list(settings.trusted_proxies))  # type: ignore[arg-type,assignment]
    return app
