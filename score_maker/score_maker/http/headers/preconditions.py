"""If-Match and If-None-Match for submissions: conditions on the version of the rater's score.

Only the version is compared. Settlement does not increment it, and only the rater creates versions, so a verdict that
arrives in between is not a conflict. A tag is therefore valid for `If-Match` as long as its version stands, and may be
written as the version alone: "3".
"""

import re
from typing import Annotated

from fastapi import Header, Request
from pydantic import WithJsonSchema

from score_maker.http.headers.fields import whole_header
from score_maker.http.problems.types import INVALID_REQUEST, Problem
from score_maker.ratings.accept import ANY_VERSION, Versions, versions
from score_maker.ratings.submissions import Preconditions

_TAG = re.compile(r'(W/)?("[\x21\x23-\x7e\x80-\xff]*")')
_VERSION = re.compile(r'"([1-9][0-9]{0,9})(?:-[0-9a-f]*)?"')


# For OpenAPI, which knows them as one line each; a request may have several.
_ListOfTags = Annotated[
    str | None, WithJsonSchema({"type": "string", "pattern": r'^(\*|(W/)?"[!#-~]*"(, *(W/)?"[!#-~]*")*)$'})
]

IfMatch = Annotated[_ListOfTags, Header(description="Only if your score has this version", examples=['"3"'])]
IfNoneMatch = Annotated[_ListOfTags, Header(description="`*`: only if you have not rated the event", examples=["*"])]


def preconditions(request: Request) -> Preconditions:
    """Returns the conditions of the request. Raises Problem if the headers are malformed."""
    return Preconditions(_versions(request, "If-Match", weak=False), _versions(request, "If-None-Match", weak=True))


def _versions(request: Request, name: str, *, weak: bool) -> Versions | None:
    """Returns the versions in tags that this service may have made. Other tags match nothing, nor do weak ones unless
    `weak`."""
    header = whole_header(request, name)
    if header is None:
        return None
    tags = _tags(name, header)
    if tags is None:
        return ANY_VERSION
    matches = (_VERSION.fullmatch(tag) for is_weak, tag in tags if weak or not is_weak)
    return versions(int(match[1]) for match in matches if match)


def _tags(name: str, header: str) -> list[tuple[bool, str]] | None:
    """Returns each tag with whether it is weak; None for `*`. Raises Problem."""
    if header.strip() == "*":
        return None
    if _TAG.sub("", header).strip(", \t"):
        raise Problem(INVALID_REQUEST, f'header.{name}: must be * or entity tags, which are quoted, like "3".')
    return [(bool(match[1]), match[2]) for match in _TAG.finditer(header)]
