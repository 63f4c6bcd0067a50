"""The events that may be rated, in memory: what line_provider last said of each, to be found, filtered and paged.

How they come here, and how fresh they are kept, is in event_feed.py.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class Status(StrEnum):
    """What the ratings that stand say of an event."""

    PROCESSING = "PROCESSING"
    LOW_SCORE = "LOW_SCORE"
    HIGH_SCORE = "HIGH_SCORE"


class Phase(StrEnum):
    """Whether an event can be rated."""

    OPEN = "open"
    CLOSED = "closed"
    FINAL = "final"
    CANCELLED = "cancelled"


@dataclass(frozen=True, slots=True)
class Event:
    """An event as of one revision; `histogram` counts the ratings of 1 to 5."""

    event_id: int
    title: str
    description: str
    starts_at: datetime
    deadline: datetime
    status: Status
    cancelled_at: datetime | None
    finalized_at: datetime | None
    score_count: int
    score_sum: int
    histogram: tuple[int, ...]
    revision: int
    created_at: datetime

    @property
    def average(self) -> float | None:
        return self.score_sum / self.score_count if self.score_count else None

    def phase(self, now: datetime) -> Phase:
        if self.cancelled_at is not None:
            return Phase.CANCELLED
        if self.finalized_at is not None:
            return Phase.FINAL
        return Phase.OPEN if now <= self.deadline else Phase.CLOSED


class Sort(StrEnum):
    """Orders of a listing; ties are broken by event id, so that every order is total."""

    DEADLINE = "deadline"
    STARTS_AT = "starts_at"
    AVERAGE = "average"
    COUNT = "count"
    NEWEST = "newest"


SortKey = tuple[float, int]

# Ascending, hence the minus where the greatest comes first; an event without ratings comes after all that have some.
_SORT_KEYS: dict[Sort, Callable[[Event], SortKey]] = {
    Sort.DEADLINE: lambda event: (event.deadline.timestamp(), event.event_id),
    Sort.STARTS_AT: lambda event: (event.starts_at.timestamp(), event.event_id),
    Sort.AVERAGE: lambda event: (-(event.average or 0), event.event_id),
    Sort.COUNT: lambda event: (-event.score_count, event.event_id),
    Sort.NEWEST: lambda event: (-event.created_at.timestamp(), -event.event_id),
}


@dataclass(frozen=True, slots=True)
class Filter:
    """Which events to list; None admits every one. `text` is looked for in title and description in any case."""

    status: Status | None = None
    phase: Phase | None = None
    text: str | None = None

    def admits(self, event: Event, now: datetime) -> bool:
        if self.status is not None and event.status is not self.status:
            return False
        if self.phase is not None and event.phase(now) is not self.phase:
            return False
        if self.text is None:
            return True
        text = self.text.casefold()
        return text in event.title.casefold() or text in event.description.casefold()


@dataclass(frozen=True, slots=True)
class EventPage:
    """Some events, and the sort key after which the next page begins (None on the last page)."""

    events: list[Event]
    next_after: SortKey | None


class EventCatalog:
    """Events by id. `is_known` is False until a first set of events was loaded, from wherever; `is_stale` is True
    while line_provider is not heard."""

    def __init__(self) -> None:
        self._events: dict[int, Event] = {}
        self.is_known = False
        self.is_stale = True

    def get(self, event_id: int) -> Event | None:
        return self._events.get(event_id)

    def replace_all(self, events: Iterable[Event]) -> None:
        """Makes these all the events that there are."""
        self._events = {event.event_id: event for event in events}
        self.is_known = True

    def put(self, event: Event) -> None:
        """Takes in the event unless a newer revision of it is here already."""
        known = self._events.get(event.event_id)
        if known is None or known.revision <= event.revision:
            self._events[event.event_id] = event

    def page(self, which: Filter, sort: Sort, *, limit: int, after: SortKey | None, now: datetime) -> EventPage:
        """The first `limit` events after a sort key. Keys are values, not positions: an event that changes its place
        meanwhile makes no other one appear twice or not at all."""
        key = _SORT_KEYS[sort]
        found = sorted(
            (
                event
                for event in self._events.values()
                if which.admits(event, now) and (after is None or key(event) > after)
            ),
            key=key,
        )
        events = found[:limit]
        return EventPage(events, key(events[-1]) if len(found) > limit else None)
