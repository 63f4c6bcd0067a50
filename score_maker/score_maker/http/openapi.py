"""The OpenAPI document: the descriptions that apply to all operations, security, and the schemas of problems."""

from typing import Any

from fastapi import FastAPI
from fastapi.routing import APIRoute

from score_maker.http.identity import COOKIE
from score_maker.http.problems import openapi as problems
from score_maker.http.problems.types import INTERNAL_ERROR
from score_maker.ratings.domain import SCALE
from score_maker.settings import Settings

_DESCRIPTION = """
Rate live events from {lowest} to {highest}, change your mind until the deadline, and see what everyone's ratings add
up to.

A response to a rating means that it is stored durably; it is `pending` until line_provider, which owns the events, has
applied it. {identity} Errors are [problem+json](https://www.rfc-editor.org/rfc/rfc9457); the address in `type` explains
them.
"""
_IDENTITY = {
    "anonymous": "Browsers are identified by a cookie; other clients ask `POST /raters` for a token.",
    "jwt": "Raters send a token of the issuer that this service trusts.",
}
_TAGS = {
    "events": "What can be rated, and what the ratings add up to.",
    "scores": "Your ratings: give, change and withdraw them, and see what became of them.",
    "raters": "Identities of raters.",
    "health": "For those who run the service.",
    "operations": "The state of the saga, and the events: for operators, with their token.",
}
_OPERATOR = {
    "type": "http",
    "scheme": "bearer",
    "description": "The operators' token: the setting SCORE_MAKER_ADMIN_TOKEN",
}
_BEARER = {
    "anonymous": {"type": "http", "scheme": "bearer", "description": "A token of `POST /raters`"},
    "jwt": {
        "type": "http",
        "scheme": "bearer",
        "bearerFormat": "JWT",
        "description": "A token of the issuer that this service trusts; its subject is the rater",
    },
}
_COOKIE = {
    "type": "apiKey",
    "in": "cookie",
    "name": COOKIE,
    "description": "Set by the response to a browser's first rating. Browsers do not send it from other sites.",
}


def described(settings: Settings) -> dict[str, Any]:
    """Returns the arguments for FastAPI's constructor."""
    absent = {"raters"} if settings.identity == "jwt" else set()
    if settings.admin_token is None:
        absent.add("operations")
    tags = {name: text for name, text in _TAGS.items() if name not in absent}
    return {
        "title": "Scoreline",
        "summary": "Ratings of live events: none lost, none counted twice, none counted late",
        "description": _DESCRIPTION.format(lowest=SCALE[0], highest=SCALE[-1], identity=_IDENTITY[settings.identity]),
        "openapi_tags": [{"name": name, "description": text} for name, text in tags.items()],
        "responses": problems.responses(INTERNAL_ERROR),
        "generate_unique_id_function": _operation_id,
        # Relative to the address that the document was loaded from, whatever proxy is in front.
        "servers": [{"url": "/"}],
    }


def install(app: FastAPI, settings: Settings) -> None:
    """Adds security and the schemas of problems to the app's document."""
    generate = app.openapi

    def openapi() -> dict[str, Any]:
        is_new = app.openapi_schema is None
        document = generate()
        if is_new:
            document["components"]["schemas"] |= problems.schemas()
            _add_security(document, settings)
        return document

    app.openapi = openapi  # type: ignore[method-assign]  # FastAPI's documented way to extend it


def _operation_id(route: APIRoute) -> str:
    return route.name


def _add_security(document: dict[str, Any], settings: Settings) -> None:
    """Operations that may answer 401 identify the caller. Only with an issuer's tokens do some require that."""
    document["components"]["securitySchemes"] = {"bearer": _BEARER[settings.identity]}
    ways: list[dict[str, list[str]]] = [{"bearer": []}]
    if settings.identity == "anonymous":
        document["components"]["securitySchemes"]["cookie"] = _COOKIE
        ways.append({"cookie": []})
    if settings.admin_token is not None:
        document["components"]["securitySchemes"]["operator"] = _OPERATOR
    for operations in document["paths"].values():
        for method, operation in operations.items():
            if "operations" in operation["tags"]:
                operation["security"] = [{"operator": []}]
            elif "401" in operation["responses"]:
                needed = settings.identity == "jwt" and method != "get"
                operation["security"] = ways if needed else [*ways, {}]
