"""Cursors of paged lists: opaque to clients, who send one back unchanged to get the next page."""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import TypeVar

from pydantic import TypeAdapter

from score_maker.http.problems.types import INVALID_REQUEST, Problem

T = TypeVar("T")


def write_cursor(position: T, adapter: TypeAdapter[T]) -> str:
    return urlsafe_b64encode(adapter.dump_json(position)).rstrip(b"=").decode()


def read_cursor(cursor: str, adapter: TypeAdapter[T]) -> T:
    """Returns the position that `write_cursor` was given. Raises Problem if the cursor is not one of this list."""
    try:
        return adapter.validate_json(urlsafe_b64decode(cursor + "=="))
    except ValueError:
        detail = "query.cursor: must be the `next_cursor` of the page before, unchanged."
        raise Problem(INVALID_REQUEST, detail) from None


def foreign_cursor() -> Problem:
    """Returns the problem that the cursor belongs to another list: other filters, or another order."""
    detail = "query.cursor: belongs to other filters or another `sort`; keep those of the page before, or leave it out."
    return Problem(INVALID_REQUEST, detail)
