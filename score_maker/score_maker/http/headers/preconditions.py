"""The request headers `If-Match` and `If-None-Match` (RFC 9110) for scores, whose entity tags begin with the version.

What a word is conditional on is the version alone: nobody but the rater makes a new one, and that line_provider has
ruled on it meanwhile is no conflict. So a tag is good for `If-Match` as long as its version stands, and may be
written as the version alone: "3".
"""

import re
from dataclasses import dataclass
from typing import Annotated

from fastapi import Header, Request
from pydantic import WithJsonSchema

from score_maker.http.headers.etag import whole_header
from score_maker.http.problems.types import INVALID_REQUEST, Problem
from score_maker.ratings.accept import ANY_VERSION, Versions, versions

_TAG = re.compile(r'(W/)?("[\x21\x23-\x7e\x80-\xff]*")')
_VERSION = re.compile(r'"([1-9][0-9]{0,9})(?:-[0-9a-f]*)?"')


@dataclass(frozen=True, slots=True)
class Preconditions:
    """The versions that a score must and must not have for a word to be accepted; None where it does not matter."""

    if_match: Versions | None
    if_none_match: Versions | None


# For OpenAPI, where they are one line each; they may come in several.
_ListOfTags = Annotated[
    str | None, WithJsonSchema({"type": "string", "pattern": r'^(\*|(W/)?"[!#-~]*"(, *(W/)?"[!#-~]*")*)$'})
]

IfMatch = Annotated[_ListOfTags, Header(description="Only if your score is of this version", examples=['"3"'])]
IfNoneMatch = Annotated[_ListOfTags, Header(description="`*`: only if you have not rated the event", examples=["*"])]


def preconditions(request: Request) -> Preconditions:
    """Raises Problem where the headers cannot be read."""
    return Preconditions(_versions(request, "If-Match", weak=False), _versions(request, "If-None-Match", weak=True))


def _versions(request: Request, name: str, *, weak: bool) -> Versions | None:
    """Of the tags that this service may have made; others match nothing, nor do weak ones unless `weak`."""
    header = whole_header(request, name)
    if header is None:
        return None
    tags = _tags(name, header)
    if tags is None:
        return ANY_VERSION
    matches = (_VERSION.fullmatch(tag) for is_weak, tag in tags if weak or not is_weak)
    return versions(int(match[1]) for match in matches if match)


def _tags(name: str, header: str) -> list[tuple[bool, str]] | None:
    """Each with whether it is weak; None for `*`. Raises Problem."""
    if header.strip() == "*":
        return None
    if _TAG.sub("", header).strip(", \t"):
        raise Problem(INVALID_REQUEST, f'header.{name}: must be * or entity tags, which stand in quotes, like "3".')
    return [(bool(match[1]), match[2]) for match in _TAG.finditer(header)]
