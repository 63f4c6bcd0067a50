"""Rounds of measurements, in which everything that is compared takes its turn."""

from collections.abc import Awaitable, Callable, Mapping
from typing import TypeVar

_Figure = TypeVar("_Figure")


async def in_turns(
    measurements: Mapping[str, Callable[[], Awaitable[_Figure]]], rounds: int
) -> dict[str, list[_Figure]]:
    """Takes each measurement once per round, one after the other, and returns the figures by name, one for each round.

    Each round begins with the next name, so that none always comes first: the first of a round follows other work than
    the last, and finds another state of caches and disks.
    """
    names = list(measurements)
    figures: dict[str, list[_Figure]] = {name: [] for name in names}
    for nth in range(rounds):
        first = nth % len(names)
        for name in (*names[first:], *names[:first]):
            figures[name].append(await measurements[name]())
    return figures
