"""The request headers `If-Match` and `If-None-Match` (RFC 9110) for scores, whose entity tags begin with the version.

What a word is conditional on is the version alone: nobody but the rater makes a new one, and that line_provider has
ruled on it meanwhile is no conflict. So a tag is good for `If-Match` as long as its version stands, and may be
written as the version alone: "3". What was read (`is_current`) goes by the whole tag.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Header

from score_maker.http.problems import INVALID_REQUEST, Problem
from score_maker.scores import ANY_VERSION, Versions, versions

_TAG = re.compile(r'(W/)?("[\x21\x23-\x7e\x80-\xff]*")')
_VERSION = re.compile(r'"([1-9][0-9]{0,9})(?:-[0-9a-f]*)?"')

IfMatch = Annotated[
    list[str] | None,
    Header(alias="If-Match", description="Only if your score is of this version", examples=['"3"']),
]
IfNoneMatch = Annotated[
    list[str] | None,
    Header(alias="If-None-Match", description="`*`: only if you have not rated the event", examples=["*"]),
]


@dataclass(frozen=True, slots=True)
class Preconditions:
    """The versions that a score must and must not have for a word to be accepted; None where it does not matter."""

    if_match: Versions | None
    if_none_match: Versions | None


def _preconditions(if_match: IfMatch = None, if_none_match: IfNoneMatch = None) -> Preconditions:
    return Preconditions(
        None if if_match is None else _versions("If-Match", if_match, weak=False),
        None if if_none_match is None else _versions("If-None-Match", if_none_match, weak=True),
    )


ScorePreconditions = Annotated[Preconditions, Depends(_preconditions)]


def is_current(etag: str, if_none_match: Iterable[str]) -> bool:
    """Whether a reader has this very state already. Raises Problem."""
    tags = _tags("If-None-Match", if_none_match)
    return tags is None or any(tag == etag for _, tag in tags)


def _versions(name: str, headers: Iterable[str], *, weak: bool) -> Versions:
    """Of the tags that this service may have made; others match nothing, nor do weak ones unless `weak`."""
    tags = _tags(name, headers)
    if tags is None:
        return ANY_VERSION
    matches = (_VERSION.fullmatch(tag) for is_weak, tag in tags if weak or not is_weak)
    return versions(int(match[1]) for match in matches if match)


def _tags(name: str, headers: Iterable[str]) -> list[tuple[bool, str]] | None:
    """Each with whether it is weak; None for `*`."""
    header = ",".join(headers)
    if header.strip() == "*":
        return None
    if _TAG.sub("", header).strip(", \t"):
        raise Problem(INVALID_REQUEST, f'header.{name}: must be * or entity tags, which stand in quotes, like "3".')
    return [(bool(match[1]), match[2]) for match in _TAG.finditer(header)]
