"""Conditional reads: ETag, If-None-Match and 304 by RFC 9110."""

import re
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

from fastapi import Request, Response, status

from score_maker.http.headers.fields import whole_header

# An entity tag may contain commas but no quotes. The prefix of a weak tag is not part of the comparison.
_ENTITY_TAG = re.compile(r'(?:W/)?("[^"]*")')


@dataclass(frozen=True, slots=True)
class Document:
    """A JSON body and its strong entity tag: the same tag means the same bytes."""

    body: bytes
    etag: str

    @classmethod
    def of(cls, body: bytes) -> "Document":
        return cls(body, f'"{blake2b(body, digest_size=16).hexdigest()}"')


def answer(request: Request, document: Document) -> Response:
    """Returns the document, or 304 if the client has it already. Caches must not share it: it may be a rater's own."""
    headers = {"ETag": document.etag, "Cache-Control": "private, no-cache", "Vary": "Cookie, Authorization"}
    if _is_known(request, document.etag):
        return Response(status_code=status.HTTP_304_NOT_MODIFIED, headers=headers)
    return Response(document.body, headers=headers, media_type="application/json")


def _is_known(request: Request, etag: str) -> bool:
    """Tells whether the client already has the document with this tag."""
    condition = whole_header(request, "If-None-Match")
    return condition is not None and matches(condition, etag)


def matches(condition: str, etag: str) -> bool:
    """Tells whether the value of If-None-Match names the strong tag, or any tag by `*`."""
    return condition.strip() == "*" or etag in _ENTITY_TAG.findall(condition)


# The OpenAPI documentation of operations that answer so.
NOT_MODIFIED: dict[int | str, dict[str, Any]] = {
    status.HTTP_304_NOT_MODIFIED: {"description": "You have it already: `If-None-Match` names its `ETag`"}
}
