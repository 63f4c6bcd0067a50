"""Events in memory, as line_provider last reported them: look-up by id, filters, orders and pages.

Each order of the list is kept sorted for every phase and status, so that a page costs the same however many events
there are; only a search for words looks at events that it does not return. Time changes events too: `advance` closes
those whose deadline has passed, which counts as a change like any other.

feed.py fills the catalog and keeps it fresh.
"""

import sys
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from heapq import merge
from itertools import islice

from sortedcontainers import SortedList

from score_maker.events.change_log import ChangeLog
from score_maker.events.event import Event, Phase, Status
from score_maker.events.ranking import Prior, bayesian_average
from score_maker.events.search import fold, words_of
from scoreline_common.batched import batched


class Sort(StrEnum):
    """Orders of the list; ties are broken by event id, so that every order is total."""

    DEADLINE = "deadline"
    STARTS_AT = "starts_at"
    AVERAGE = "average"
    TOP = "top"
    COUNT = "count"
    NEWEST = "newest"


# A sort value and the event id, which is negative if the greatest id comes first among equals.
SortKey = tuple[float, int]


def sort_keys(prior: Prior) -> dict[Sort, Callable[[Event], SortKey]]:
    """Returns the key of each order. Keys ascend, so they are negated where the greatest comes first.

    Events without ratings come after all that have some.
    """
    return {
        Sort.DEADLINE: lambda event: (event.deadline.timestamp(), event.event_id),
        Sort.STARTS_AT: lambda event: (event.starts_at.timestamp(), event.event_id),
        Sort.AVERAGE: lambda event: (-(event.average or 0), event.event_id),
        Sort.TOP: lambda event: (-bayesian_average(event.score_sum, event.score_count, prior), event.event_id),
        Sort.COUNT: lambda event: (-event.score_count, event.event_id),
        Sort.NEWEST: lambda event: (-event.created_at.timestamp(), -event.event_id),
    }


Place = tuple[Phase, Status]

# Below this many matches, sorting them is cheaper than walking the order of all events.
SORT_MATCHES_BELOW = 2000


@dataclass(frozen=True, slots=True)
class Filter:
    """Which events to list; None admits all. All words must be found; they are in the form that `words_of` returns."""

    status: Status | None = None
    phase: Phase | None = None
    words: tuple[str, ...] = ()

    @classmethod
    def matching(cls, status: Status | None, phase: Phase | None, query: str | None) -> "Filter":
        return cls(status, phase, words_of(query or ""))

    def admits(self, place: Place) -> bool:
        phase, status = place
        return self.phase in {None, phase} and self.status in {None, status}


@dataclass(frozen=True, slots=True, eq=False)
class ListedEvent:
    """An event, its phase as of the catalog's last advance, and its searchable text. Each change makes a new one."""

    event: Event
    phase: Phase
    text: str


@dataclass(frozen=True, slots=True)
class EventPage:
    """Some events, and the sort key after which the next page begins; None on the last page."""

    events: list[ListedEvent]
    next_after: SortKey | None


@dataclass(frozen=True, slots=True)
class EventChange:
    """An event as it is now, and the position of its last change."""

    position: int
    listed: ListedEvent


def _utc_now() -> datetime:
    return datetime.now(UTC)


class EventCatalog:
    """Events by id, in every order, and in the order of their last changes.

    `is_known` is False until a first set of events was loaded, from line_provider or the cache. `is_stale` is True
    while the watch of line_provider is not connected."""

    def __init__(self, prior: Prior | None = None, clock: Callable[[], datetime] = _utc_now) -> None:
        self.is_known = False
        self.is_stale = True
        self._subscribers: list[Callable[[], None]] = []
        self._clock = clock
        self._listed: dict[int, ListedEvent] = {}
        self._changes = ChangeLog()
        self._sort_keys = sort_keys(prior or Prior())
        self._orders: dict[Place, dict[Sort, SortedList[SortKey]]] = {
            (phase, status): {sort: SortedList() for sort in Sort} for phase in Phase for status in Status
        }

    @property
    def position(self) -> int:
        """The position after all changes; `advance` adds those that time has made."""
        return self._changes.position

    def subscribe(self, on_change: Callable[[], None]) -> None:
        """Has the function called after each change; it must return at once."""
        self._subscribers.append(on_change)

    def get(self, event_id: int) -> Event | None:
        listed = self._listed.get(event_id)
        return listed.event if listed else None

    def replace_all(self, events: Iterable[Event]) -> None:
        """Replaces all events by these. Only events that differ count as changed."""
        for _ in self.replacing(events, at_once=sys.maxsize):
            pass

    def replacing(self, events: Iterable[Event], *, at_once: int) -> Iterator[None]:
        """Does the same in steps of `at_once` events, so that the caller can let other tasks run in between.

        The replacement is complete when the iterator ends. Until then nothing but time may change the catalog.
        """
        vanished = set(self._listed)
        for batch in batched(events, at_once):
            vanished.difference_update(event.event_id for event in batch)
            self._put([event for event in batch if self.get(event.event_id) != event], self._clock())
            yield
        for event_ids in batched(vanished, at_once):
            self._remove(event_ids)
            yield
        self.is_known = True
        self._notify()

    def put(self, event: Event) -> None:
        """Adds or replaces the event, unless this revision of it or a newer one is here already."""
        known = self.get(event.event_id)
        if known is None or known.revision < event.revision:
            self._put([event], self._clock())

    def advance(self) -> None:
        """Closes the events whose deadline has passed."""
        now = self._clock()
        due = [
            self._listed[event_id].event
            for deadlines in self._deadlines()
            for _, event_id in deadlines.irange(maximum=(now.timestamp(), 0))
        ]
        if due:
            self._put(due, now)

    def next_deadline(self) -> datetime | None:
        """Returns the deadline of the next event to close; None if no event is open."""
        firsts = [deadlines[0] for deadlines in self._deadlines()]
        return self._listed[min(firsts)[1]].event.deadline if firsts else None

    def page(self, which: Filter, sort: Sort, *, limit: int, after: SortKey | None) -> EventPage:
        """Returns the first `limit` events after a sort key.

        Keys are values, not positions: an event that moves meanwhile makes no other event appear twice or not at all.
        """
        self.advance()
        keys = self._matching_keys(which, sort, after) if which.words else self._keys(which, sort, after)
        first = list(islice(keys, limit + 1))
        listed = [self._listed[abs(event_id)] for _, event_id in first[:limit]]
        return EventPage(listed, first[limit - 1] if len(first) > limit else None)

    def knows_position(self, position: int) -> bool:
        """Tells whether `changes` knows everything that has happened after the position."""
        return self._changes.knows(position)

    def changes(self, after: int, *, until: int, limit: int) -> list[EventChange]:
        """Returns the first events whose last change lies after one position and not beyond another, oldest first."""
        return [
            EventChange(position, self._listed[event_id])
            for position, event_id in self._changes.between(after, until, limit=limit)
        ]

    def _deadlines(self) -> list[SortedList[SortKey]]:
        """Returns the sorted deadlines of open events, one list for each status."""
        orders = (self._orders[Phase.OPEN, status][Sort.DEADLINE] for status in Status)
        return [deadlines for deadlines in orders if deadlines]

    def _keys(self, which: Filter, sort: Sort, after: SortKey | None) -> Iterator[SortKey]:
        """Returns the keys behind `after`, in their order, of events with the filter's phase and status."""
        orders = (orders[sort] for place, orders in self._orders.items() if which.admits(place))
        return merge(*(keys.irange(after, inclusive=(False, True)) for keys in orders if keys))

    def _matching_keys(self, which: Filter, sort: Sort, after: SortKey | None) -> Iterator[SortKey]:
        """Returns the same of events that also have the filter's words."""
        found = list(self._listed.values())
        for word in which.words:
            found = [listed for listed in found if word in listed.text]
        if len(found) > SORT_MATCHES_BELOW:
            event_ids = {listed.event.event_id for listed in found}
            return (key for key in self._keys(which, sort, after) if abs(key[1]) in event_ids)
        keys = (self._sort_keys[sort](listed.event) for listed in found if which.admits(_place(listed)))
        return iter(sorted(key for key in keys if after is None or key > after))

    def _put(self, events: Iterable[Event], now: datetime) -> None:
        keys: dict[tuple[Place, Sort], list[SortKey]] = defaultdict(list)
        for event in events:
            known = self._listed.get(event.event_id)
            listed = _listed(event, now, known)
            self._listed[event.event_id] = listed
            self._changes.record(event.event_id)
            place = _place(listed)
            for sort, key in self._sort_keys.items():
                if known is None:
                    keys[place, sort].append(key(event))
                elif place != _place(known) or key(event) != key(known.event):
                    self._orders[_place(known)][sort].remove(key(known.event))
                    keys[place, sort].append(key(event))
        for (place, sort), added in keys.items():
            self._orders[place][sort].update(added)
        self._notify()

    def _notify(self) -> None:
        for on_change in self._subscribers:
            on_change()

    def _remove(self, event_ids: Iterable[int]) -> None:
        for event_id in event_ids:
            listed = self._listed.pop(event_id)
            self._changes.forget(event_id)
            for sort, key in self._sort_keys.items():
                self._orders[_place(listed)][sort].remove(key(listed.event))


def _listed(event: Event, now: datetime, known: ListedEvent | None) -> ListedEvent:
    if known and (known.event.title, known.event.description) == (event.title, event.description):
        text = known.text
    else:
        text = fold(f"{event.title}\n{event.description}")
    return ListedEvent(event, event.phase(now), text)


def _place(listed: ListedEvent) -> Place:
    return listed.phase, listed.event.status
