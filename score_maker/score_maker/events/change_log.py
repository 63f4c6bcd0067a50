"""Which events changed after a position; of each event only the last change is kept.

So the log is never longer than the catalog, and a subscriber that comes back after any time gets every changed event,
and each of them once.
"""

from itertools import islice

from sortedcontainers import SortedDict


class ChangeLog:
    """Positions count the changes of this process."""

    def __init__(self) -> None:
        self.position = 0
        self._known_from = 0
        self._event_ids: SortedDict[int, int] = SortedDict()
        self._positions: dict[int, int] = {}

    def record(self, event_id: int) -> None:
        """Records that the event has changed or is new."""
        self.position += 1
        known = self._positions.get(event_id)
        if known is not None:
            del self._event_ids[known]
        self._positions[event_id] = self.position
        self._event_ids[self.position] = event_id

    def forget(self, event_id: int) -> None:
        """Records that the event is gone. The log cannot express that, so it forgets all positions until now."""
        self.position += 1
        self._known_from = self.position
        del self._event_ids[self._positions.pop(event_id)]

    def knows(self, position: int) -> bool:
        """Tells whether the log has everything that has happened after the position."""
        return self._known_from <= position <= self.position

    def between(self, after: int, until: int, *, limit: int) -> list[tuple[int, int]]:
        """Returns (position, event id) of the first changes after one position and not beyond another."""
        positions = self._event_ids.irange(after, until, inclusive=(False, True))
        return [(position, self._event_ids[position]) for position in islice(positions, limit)]
