"""Which events changed after a position: of each event its last change only. So the log is never longer than the
catalog, and whoever comes back, after however long, can be told everything, and each event once.
"""

from itertools import islice

from sortedcontainers import SortedDict


class ChangeLog:
    """`position` counts the changes of this process."""

    def __init__(self) -> None:
        self.position = 0
        self._known_from = 0
        self._event_ids: SortedDict[int, int] = SortedDict()
        self._positions: dict[int, int] = {}

    def record(self, event_id: int) -> None:
        """The event has changed, or is new."""
        self.position += 1
        known = self._positions.get(event_id)
        if known is not None:
            del self._event_ids[known]
        self._positions[event_id] = self.position
        self._event_ids[self.position] = event_id

    def forget(self, event_id: int) -> None:
        """The event is no more. That is not told as a change: no position until now is known from here on."""
        self.position += 1
        self._known_from = self.position
        del self._event_ids[self._positions.pop(event_id)]

    def knows(self, position: int) -> bool:
        """Whether all that has happened after the position can be told."""
        return self._known_from <= position <= self.position

    def between(self, after: int, until: int, *, limit: int) -> list[tuple[int, int]]:
        """(position, event id) of the first changes after one position and until another."""
        positions = self._event_ids.irange(after, until, inclusive=(False, True))
        return [(position, self._event_ids[position]) for position in islice(positions, limit)]
