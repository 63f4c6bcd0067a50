"""A backport of `itertools.batched`, which Python has from 3.12 on."""

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import TypeVar

T = TypeVar("T")


def batched(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """Yields lists of `size` consecutive items; the last one may be shorter. Items are consumed one batch at a time."""
    rest = iter(items)
    while batch := list(islice(rest, size)):
        yield batch
