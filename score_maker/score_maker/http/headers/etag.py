"""Answers that a client need not be sent again: ETag, If-None-Match and 304 as RFC 9110 has them."""

import re
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

from fastapi import Request, Response, status

# An entity tag may hold commas; it never holds quotes. What makes it weak is no part of the comparison.
_ENTITY_TAG = re.compile(r'(?:W/)?("[^"]*")')


@dataclass(frozen=True, slots=True)
class Document:
    """A JSON body and its strong entity tag: the same tag, the same bytes."""

    body: bytes
    etag: str

    @classmethod
    def of(cls, body: bytes) -> "Document":
        return cls(body, f'"{blake2b(body, digest_size=16).hexdigest()}"')


def answer(request: Request, document: Document) -> Response:
    """The document; 304 without it where the client has it already. It is the client's alone, who may be a rater."""
    headers = {"ETag": document.etag, "Cache-Control": "private, no-cache", "Vary": "Cookie, Authorization"}
    if _is_known(request, document.etag):
        return Response(status_code=status.HTTP_304_NOT_MODIFIED, headers=headers)
    return Response(document.body, headers=headers, media_type="application/json")


def _is_known(request: Request, etag: str) -> bool:
    """Whether the client has what the tag stands for."""
    condition = whole_header(request, "If-None-Match")
    return condition is not None and matches(condition, etag)


def whole_header(request: Request, name: str) -> str | None:
    """A header that is a list, of all the lines that it came in; None where it did not come."""
    lines = request.headers.getlist(name)
    return ", ".join(lines) if lines else None


def matches(condition: str, etag: str) -> bool:
    """Whether the value of If-None-Match names the strong tag, or any by `*`."""
    return condition.strip() == "*" or etag in _ENTITY_TAG.findall(condition)


# What OpenAPI says of an operation that answers so.
NOT_MODIFIED: dict[int | str, dict[str, Any]] = {
    status.HTTP_304_NOT_MODIFIED: {"description": "You have it already: it is what the `ETag` in `If-None-Match` named"}
}
