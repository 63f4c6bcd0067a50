"""The order of the middleware, from the outside in."""

from collections.abc import Mapping

from fastapi import FastAPI
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from score_maker.http.middleware.guards import BodyLimit, SecurityHeaders
from score_maker.http.middleware.observation import Observation
from score_maker.http.plain_route import PlainRoutesFirst
from score_maker.settings import Settings


def wrapped(framework: FastAPI, settings: Settings, *, larger_bodies: Mapping[str, int]) -> ASGIApp:
    """Puts the middleware around the framework, so that its responses to unexpected failures pass through it too."""
    app: ASGIApp = PlainRoutesFirst(framework)
    app = BodyLimit(app, larger=larger_bodies)
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
        # Outside of those that use the scheme and the address, which it takes from the proxy's headers.
        app = ProxyHeadersMiddleware(app, trusted_hosts=list(settings.trusted_proxies))  # type: ignore[arg-type,assignment]
    return Observation(app, traced=settings.otlp_endpoint is not None)
