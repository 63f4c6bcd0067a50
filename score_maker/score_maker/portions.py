"""Much, a little at a time: for loops that give way to others in between."""

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import TypeVar

T = TypeVar("T")


def portions(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """Lists of `size` items in their order, the last one of what is left; each item is asked for when its portion is.

    Until Python 3.12 itertools has no `batched`.
    """
    rest = iter(items)
    while portion := list(islice(rest, size)):
        yield portion
