"""The catalog: order of its listings, paging while events change, and the changes that it reports."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from score_maker.events.catalog import EventCatalog, Filter, Sort, SortKey, sort_keys
from score_maker.events.event import Event, Phase, Status
from score_maker.events.ranking import Prior

START = datetime(2026, 6, 11, 19, tzinfo=UTC)
SORT_KEYS = sort_keys(Prior())


class Clock:
    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> datetime:
        return self.now


def event(event_id: int, *, hours: int = 1, revision: int = 1, scores: tuple[int, ...] = (), **fields: object) -> Event:
    """An event that is open for this many hours from START."""
    made = Event(
        event_id=event_id,
        title=f"Event {event_id}",
        description="",
        starts_at=START - timedelta(hours=event_id % 3),
        deadline=START + timedelta(hours=hours),
        status=Status.PROCESSING
        if not scores
        else Status.HIGH_SCORE
        if sum(scores) >= 3 * len(scores)
        else Status.LOW_SCORE,
        cancelled_at=None,
        finalized_at=None,
        score_count=len(scores),
        score_sum=sum(scores),
        histogram=tuple(scores.count(value) for value in range(1, 6)),
        revision=revision,
        created_at=START - timedelta(days=event_id % 2),
    )
    return replace(made, **fields)  # type: ignore[arg-type]  # fields of Event


def catalog_of(*events: Event, clock: Clock | None = None) -> EventCatalog:
    catalog = EventCatalog(clock=clock or Clock())
    catalog.replace_all(events)
    return catalog


def listed(catalog: EventCatalog, sort: Sort = Sort.DEADLINE, which: Filter | None = None) -> list[int]:
    return [each.event.event_id for each in catalog.page(which or Filter(), sort, limit=1000, after=None).events]


def changed(catalog: EventCatalog, after: int) -> list[int]:
    return [each.listed.event.event_id for each in catalog.changes(after, until=catalog.position, limit=1000)]


def test_a_single_rating_of_5_does_not_top_the_list() -> None:
    catalog = catalog_of(event(1, scores=(5,)), event(2, scores=(5,) * 80 + (4,) * 20), event(3), event(4, scores=(1,)))
    assert listed(catalog, Sort.AVERAGE) == [1, 2, 4, 3]
    assert listed(catalog, Sort.TOP) == [2, 1, 4, 3]


def test_a_search_requires_every_word_in_the_title_or_description() -> None:
    catalog = catalog_of(
        event(1, title="Мексика – ЮАР", description="Чемпионат мира, группа A"),
        event(2, title="Мексика – Корея", description="Чемпионат мира, группа A"),
    )
    assert listed(catalog, which=Filter.matching(None, None, "юар ГРУППА")) == [1]
    assert listed(catalog, which=Filter.matching(None, None, "мексика мира")) == [1, 2]
    assert listed(catalog, which=Filter.matching(None, None, "юар корея")) == []


def test_a_search_orders_many_matches_the_same_way_as_few(monkeypatch: pytest.MonkeyPatch) -> None:
    catalog = catalog_of(*(event(event_id, hours=event_id % 7 - 3) for event_id in range(1, 40)))
    which = Filter.matching(None, Phase.OPEN, "event 1")
    few = [catalog.page(which, sort, limit=5, after=None) for sort in Sort]
    monkeypatch.setattr("score_maker.events.catalog.SORT_MATCHES_BELOW", 0)
    assert [catalog.page(which, sort, limit=5, after=None) for sort in Sort] == few
    assert all(len(page.events) == 5 for page in few)


def test_an_event_is_open_at_its_deadline_and_closed_right_after() -> None:
    clock = Clock()
    catalog = catalog_of(event(1, hours=1), event(2, hours=2), clock=clock)
    position = catalog.position
    clock.now = START + timedelta(hours=1)
    catalog.advance()
    assert listed(catalog, which=Filter(phase=Phase.OPEN)) == [1, 2]
    assert catalog.next_deadline() == clock.now
    clock.now += timedelta(microseconds=1)
    assert listed(catalog, which=Filter(phase=Phase.OPEN)) == [2]
    assert listed(catalog, which=Filter(phase=Phase.CLOSED)) == [1]
    assert catalog.next_deadline() == START + timedelta(hours=2)
    assert changed(catalog, position) == [1]


def test_a_late_older_revision_is_ignored() -> None:
    catalog = catalog_of(event(1, revision=3, title="New"))
    position = catalog.position
    catalog.put(event(1, revision=2, title="Old"))
    catalog.put(event(1, revision=3, title="New"))
    assert (listed(catalog, which=Filter.matching(None, None, "new")), catalog.position) == ([1], position)


def test_replacing_the_catalog_reports_only_the_events_that_differ() -> None:
    catalog = catalog_of(event(1), event(2), event(3))
    position = catalog.position
    catalog.replace_all([event(1), event(2, revision=2, scores=(4,)), event(3), event(4)])
    assert changed(catalog, position) == [2, 4]


def test_the_catalog_is_replaced_in_batches_and_known_once_all_are_in() -> None:
    catalog = catalog_of(event(1), event(2), event(3))
    catalog.is_known = False
    replacing = catalog.replacing((event(each, title="New") for each in range(2, 6)), at_once=3)
    next(replacing)
    assert (listed(catalog), catalog.is_known) == ([1, 2, 3, 4], False)
    for _ in replacing:
        assert not catalog.is_known
    assert (listed(catalog), catalog.is_known) == ([2, 3, 4, 5], True)
    assert {each.event.title for each in catalog.page(Filter(), Sort.DEADLINE, limit=9, after=None).events} == {"New"}


def test_removing_an_event_invalidates_all_earlier_positions() -> None:
    catalog = catalog_of(event(1), event(2))
    before = catalog.position
    catalog.replace_all([event(2)])
    assert not catalog.knows_position(before)
    assert catalog.knows_position(catalog.position)
    assert listed(catalog) == [2]


def test_many_changes_of_one_event_are_reported_once_with_its_latest_revision() -> None:
    catalog = catalog_of(event(1), event(2))
    position = catalog.position
    for revision in range(2, 1000):
        catalog.put(event(1, revision=revision))
    catalog.put(event(2, revision=2))
    changes = catalog.changes(position, until=catalog.position, limit=10)
    assert [(each.listed.event.event_id, each.listed.event.revision) for each in changes] == [(1, 999), (2, 2)]


some_scores = st.lists(st.integers(1, 5), max_size=4).map(tuple)
filters = st.builds(
    Filter.matching, st.none() | st.sampled_from(Status), st.none() | st.sampled_from(Phase), st.sampled_from(["", "1"])
)


class PagingWhileEventsChange(RuleBasedStateMachine):
    """A client pages through a listing while events are created, changed, closed and removed."""

    @initialize(
        sort=st.sampled_from(Sort),
        which=filters,
        limit=st.integers(1, 4),
        hours=st.lists(st.integers(-2, 4), max_size=20),
    )
    def begin(self, sort: Sort, which: Filter, limit: int, hours: list[int]) -> None:
        self.clock = Clock()
        self.catalog = catalog_of(*(event(i, hours=each) for i, each in enumerate(hours, start=1)), clock=self.clock)
        self.sort, self.which, self.limit = sort, which, limit
        self.seen: list[int] = []
        self.after: SortKey | None = None
        self.is_done = False
        self.listed_throughout = dict(self._whole())

    @precondition(lambda self: not self.is_done)
    @rule()
    def see_the_next_page(self) -> None:
        page = self.catalog.page(self.which, self.sort, limit=self.limit, after=self.after)
        self.seen += [each.event.event_id for each in page.events]
        self.after, self.is_done = page.next_after, page.next_after is None
        assert len(page.events) == self.limit or self.is_done

    @rule(event_id=st.integers(1, 25), hours=st.integers(-2, 4), scores=some_scores)
    def change_or_create_an_event(self, event_id: int, hours: int, scores: tuple[int, ...]) -> None:
        known = self.catalog.get(event_id)
        self.catalog.put(event(event_id, hours=hours, scores=scores, revision=known.revision + 1 if known else 1))

    @rule(event_id=st.integers(1, 25))
    def cancel_an_event(self, event_id: int) -> None:
        if known := self.catalog.get(event_id):
            self.catalog.put(replace(known, cancelled_at=START, revision=known.revision + 1))

    @rule(gone=st.sets(st.integers(1, 25), max_size=2))
    def remove_events(self, gone: set[int]) -> None:
        known = (self.catalog.get(event_id) for event_id in range(1, 26))
        self.catalog.replace_all([each for each in known if each and each.event_id not in gone])

    @rule(minutes=st.integers(1, 90))
    def let_time_pass(self, minutes: int) -> None:
        self.clock.now += timedelta(minutes=minutes)

    @invariant()
    def events_that_keep_their_place_are_seen_exactly_once(self) -> None:
        now = self._whole()
        self.listed_throughout = {each: key for each, key in self.listed_throughout.items() if now.get(each) == key}
        for event_id in self.listed_throughout:
            assert self.seen.count(event_id) <= 1
            if self.is_done:
                assert event_id in self.seen

    @invariant()
    def every_order_is_sorted_and_complete(self) -> None:
        for sort in Sort:
            whole = self.catalog.page(Filter(), sort, limit=1000, after=None).events
            keys = [SORT_KEYS[sort](each.event) for each in whole]
            assert keys == sorted(keys)
            assert all(each.phase is each.event.phase(self.clock.now) for each in whole)
            assert {each.event for each in whole} == {each for i in range(1, 26) if (each := self.catalog.get(i))}

    def _whole(self) -> dict[int, SortKey]:
        page = self.catalog.page(self.which, self.sort, limit=1000, after=None)
        return {each.event.event_id: SORT_KEYS[self.sort](each.event) for each in page.events}


TestPagingWhileEventsChange = PagingWhileEventsChange.TestCase
TestPagingWhileEventsChange.settings = settings(max_examples=60, deadline=None)


@settings(deadline=None)
@given(data=st.data())
def test_polling_for_changes_now_and_then_yields_every_event_in_its_latest_revision(data: st.DataObject) -> None:
    catalog = catalog_of(event(1), event(2))
    seen: dict[int, int] = {1: 1, 2: 1}
    position = catalog.position
    reported: list[int] = []
    for revision in range(2, data.draw(st.integers(2, 30))):
        catalog.put(event(data.draw(st.integers(1, 5)), revision=revision))
        if data.draw(st.booleans()):
            for change in catalog.changes(position, until=catalog.position, limit=data.draw(st.integers(1, 3))):
                seen[change.listed.event.event_id] = change.listed.event.revision
                reported.append(change.listed.event.revision)
                position = change.position
    for change in catalog.changes(position, until=catalog.position, limit=1000):
        seen[change.listed.event.event_id] = change.listed.event.revision
        reported.append(change.listed.event.revision)
    assert seen == {i: known.revision for i in range(1, 6) if (known := catalog.get(i))}
    assert len(reported) == len(set(reported))
