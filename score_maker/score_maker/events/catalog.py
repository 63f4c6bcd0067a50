"""The events that may be rated, in memory: what line_provider last said of each, to be found, filtered and paged.

Every order of a listing is kept sorted, apart for each phase and status, so that a page costs the same however many
events there are; only a search for words has to look at events that it does not list. The clock changes events too:
one whose deadline passes is closed by `advance`, which counts as a change like any other.

How events come here, and how fresh they are kept, is in event_feed.py.
"""

import asyncio
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
from score_maker.events.ranking import Prior, bayesian_average
from score_maker.events.search import folded, words_of
from scoreline_common.batched import batched


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
    TOP = "top"
    COUNT = "count"
    NEWEST = "newest"


# The second number is the event id, negative in an order that breaks ties by the greatest one.
SortKey = tuple[float, int]


def sort_keys(prior: Prior) -> dict[Sort, Callable[[Event], SortKey]]:
    """Ascending, hence the minus where the greatest comes first; an event without ratings comes after all that have
    some."""
    return {
        Sort.DEADLINE: lambda event: (event.deadline.timestamp(), event.event_id),
        Sort.STARTS_AT: lambda event: (event.starts_at.timestamp(), event.event_id),
        Sort.AVERAGE: lambda event: (-(event.average or 0), event.event_id),
        Sort.TOP: lambda event: (-bayesian_average(event.score_sum, event.score_count, prior), event.event_id),
        Sort.COUNT: lambda event: (-event.score_count, event.event_id),
        Sort.NEWEST: lambda event: (-event.created_at.timestamp(), -event.event_id),
    }


Place = tuple[Phase, Status]

# Of so few events that have the words, the order is made anew: cheaper than to look for them in an order of all.
FEW = 2000


@dataclass(frozen=True, slots=True)
class Filter:
    """Which events to list; None admits every one. All the words must be there, in the form that text_search.py gives
    them."""

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
    """An event, its phase as the catalog has it, and the text to search. Each change makes another one."""

    event: Event
    phase: Phase
    text: str


@dataclass(frozen=True, slots=True)
class EventPage:
    """Some events, and the sort key after which the next page begins (None on the last page)."""

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

    `is_known` is False until a first set of events was loaded, from wherever; `is_stale` is True while line_provider
    is not heard. Each change sets `has_changed`, which the one who waits for it clears.
    """

    def __init__(self, prior: Prior | None = None, clock: Callable[[], datetime] = _utc_now) -> None:
        self.is_known = False
        self.is_stale = True
        self.has_changed = asyncio.Event()
        self._clock = clock
        self._listed: dict[int, ListedEvent] = {}
        self._changes = ChangeLog()
        self._sort_keys = sort_keys(prior or Prior())
        self._orders: dict[Place, dict[Sort, SortedList[SortKey]]] = {
            (phase, status): {sort: SortedList() for sort in Sort} for phase in Phase for status in Status
        }

    @property
    def position(self) -> int:
        """The position after all changes; those of the clock are among them once `advance` was called."""
        return self._changes.position

    def get(self, event_id: int) -> Event | None:
        listed = self._listed.get(event_id)
        return listed.event if listed else None

    def replace_all(self, events: Iterable[Event]) -> None:
        """Makes these all the events that there are. Only those that differ from what is here count as changed."""
        for _ in self.replacing(events, at_once=sys.maxsize):
            pass

    def replacing(self, events: Iterable[Event], *, at_once: int) -> Iterator[None]:
        """The same for whoever has others to give way to: it stops after so many events each time, and is done when it
        ends. Nothing else may change the catalog meanwhile but the clock."""
        vanished = set(self._listed)
        for portion in batched(events, at_once):
            vanished.difference_update(event.event_id for event in portion)
            self._put([event for event in portion if self.get(event.event_id) != event], self._clock())
            yield
        for event_ids in batched(vanished, at_once):
            self._remove(event_ids)
            yield
        self.is_known = True
        self.has_changed.set()

    def put(self, event: Event) -> None:
        """Takes in the event unless this revision of it or a newer one is here already."""
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
        """When the next open event closes."""
        firsts = [deadlines[0] for deadlines in self._deadlines()]
        return self._listed[min(firsts)[1]].event.deadline if firsts else None

    def page(self, which: Filter, sort: Sort, *, limit: int, after: SortKey | None) -> EventPage:
        """The first `limit` events after a sort key. Keys are values, not positions: an event that changes its place
        meanwhile makes no other one appear twice or not at all."""
        self.advance()
        keys = self._found_keys(which, sort, after) if which.words else self._keys(which, sort, after)
        first = list(islice(keys, limit + 1))
        listed = [self._listed[abs(event_id)] for _, event_id in first[:limit]]
        return EventPage(listed, first[limit - 1] if len(first) > limit else None)

    def knows_position(self, position: int) -> bool:
        """Whether `changes` can tell all that has happened after the position."""
        return self._changes.knows(position)

    def changes(self, after: int, *, until: int, limit: int) -> list[EventChange]:
        """The first events whose last change came after one position and until another, in the order of those
        changes."""
        return [
            EventChange(position, self._listed[event_id])
            for position, event_id in self._changes.between(after, until, limit=limit)
        ]

    def _deadlines(self) -> list[SortedList[SortKey]]:
        """Those of the open events, by status."""
        orders = (self._orders[Phase.OPEN, status][Sort.DEADLINE] for status in Status)
        return [deadlines for deadlines in orders if deadlines]

    def _keys(self, which: Filter, sort: Sort, after: SortKey | None) -> Iterator[SortKey]:
        """Those after the given one in their order, of the events in the filter's phase and of its status."""
        orders = (orders[sort] for place, orders in self._orders.items() if which.admits(place))
        return merge(*(keys.irange(after, inclusive=(False, True)) for keys in orders if keys))

    def _found_keys(self, which: Filter, sort: Sort, after: SortKey | None) -> Iterator[SortKey]:
        """The same, of the events that have the filter's words."""
        found = list(self._listed.values())
        for word in which.words:
            found = [listed for listed in found if word in listed.text]
        if len(found) > FEW:
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
        self.has_changed.set()

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
        text = folded(f"{event.title}\n{event.description}")
    return ListedEvent(event, event.phase(now), text)


def _place(listed: ListedEvent) -> Place:
    return listed.phase, listed.event.status
