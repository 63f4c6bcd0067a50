"""Reading a request without the framework: its JSON body, and validated values of its path and query.

What is invalid is raised as the framework raises it, so that it becomes the same problem.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from fastapi import Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, TypeAdapter, ValidationError
from starlette.requests import ClientDisconnect

from score_maker.http.headers.fields import first_header

T = TypeVar("T")
ModelT = TypeVar("ModelT", bound=BaseModel)

# application/json, or another type with that suffix (RFC 6839), with or without parameters.
_JSON_TYPE = re.compile(r"application/(?:[^;\s+]+\+)?json\s*(?:;.*)?", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Sent(Generic[ModelT]):
    """A body that was sent: valid, or with errors that are raised once the value is asked for.

    So who sends it, and how often, is checked before, as the framework does for other operations.
    """

    value: ModelT | None
    error: RequestValidationError | None

    def checked(self) -> ModelT:
        """Returns the value. Raises RequestValidationError."""
        if self.error is not None or self.value is None:
            raise self.error or AssertionError("a body is valid or has errors")
        return self.value


async def read_json(request: Request, model: type[ModelT]) -> Sent[ModelT]:
    """Reads the body. Raises RequestValidationError at once if it is declared as JSON but is not."""
    body = await _read_body(request)
    if not body:
        missing = {"type": "missing", "loc": ("body",), "msg": "Field required", "input": None}
        return Sent(None, RequestValidationError([missing]))
    if not _JSON_TYPE.fullmatch(first_header(request, b"content-type") or ""):
        not_json = {"type": "model_attributes_type", "loc": ("body",), "msg": "Input should be JSON", "input": None}
        return Sent(None, RequestValidationError([not_json], body=body))
    try:
        return Sent(model.model_validate_json(body), None)
    except ValidationError as invalid:
        error = RequestValidationError(_at(invalid, "body"))
        if any(each["type"] == "json_invalid" for each in error.errors()):
            raise error from None
        return Sent(None, error)


async def _read_body(request: Request) -> bytes:
    """Does what Request.body() does at a fraction of its cost. Middleware has limited how long it can get."""
    body, is_complete = b"", False
    while not is_complete:
        message = await request.receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        body += message.get("body", b"")
        is_complete = not message.get("more_body", False)
    return body


def valid(adapter: TypeAdapter[T], sent: str, *location: str) -> T:
    """Returns a parameter as the adapter's type. Raises RequestValidationError."""
    try:
        return adapter.validate_python(sent)
    except ValidationError as invalid:
        raise RequestValidationError(_at(invalid, *location)) from None


def valid_query(request: Request, model: type[ModelT]) -> ModelT:
    """Returns the parameters of the query, the last of those with the same name. Raises RequestValidationError."""
    try:
        return model.model_validate(dict(request.query_params))
    except ValidationError as invalid:
        raise RequestValidationError(_at(invalid, "query")) from None


def _at(invalid: ValidationError, *location: str) -> list[Mapping[str, Any]]:
    return [{**error, "loc": (*location, *error["loc"])} for error in invalid.errors(include_url=False)]
