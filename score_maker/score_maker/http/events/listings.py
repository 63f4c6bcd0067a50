"""The pages of GET /events: rendered again only when an event on them has changed.

A page that has not changed keeps its bytes, and so its ETag, while other events change. Its stream position then stays
behind, which only means that a subscriber gets those other events too.
"""

import json
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import blake2b

from pydantic import FiniteFloat, TypeAdapter

from score_maker.events.broadcast import EventBroadcast
from score_maker.events.catalog import EventCatalog, EventPage, Filter, Sort, SortKey
from score_maker.events.event import Event
from score_maker.http.events.cursors import foreign_cursor, read_cursor, write_cursor
from score_maker.http.events.documents import EventDocuments, extended, joined, json_bool, json_string
from score_maker.http.headers.etag import Document

# How many query strings are cached.
CACHED_LISTINGS = 128
# How many changes a page's stream position may be behind.
MAX_CHANGES_BEHIND = 1000

_CURSOR = TypeAdapter(tuple[str, FiniteFloat, int])


@dataclass(frozen=True, slots=True)
class ListingQuery:
    which: Filter
    sort: Sort
    limit: int
    after: SortKey | None

    @classmethod
    def of(cls, which: Filter, sort: Sort, limit: int, cursor: str | None) -> "ListingQuery":
        """Raises Problem if the cursor does not belong to this filter and order."""
        if cursor is None:
            return cls(which, sort, limit, None)
        fingerprint, value, event_id = read_cursor(cursor, _CURSOR)
        if fingerprint != _fingerprint(which, sort):
            raise foreign_cursor()
        return cls(which, sort, limit, (value, event_id))

    def cursor(self, after: SortKey) -> str:
        """Returns the cursor of the page that follows this sort key."""
        return write_cursor((_fingerprint(self.which, self.sort), *after), _CURSOR)


def _fingerprint(which: Filter, sort: Sort) -> str:
    return blake2b(json.dumps([sort, which.status, which.phase, which.words]).encode(), digest_size=6).hexdigest()


@dataclass(frozen=True, slots=True)
class ListingState:
    """A page as of one moment, and the stream position from which a subscriber gets everything that changes later."""

    page: EventPage
    is_stale: bool
    position: int

    @property
    def events(self) -> list[Event]:
        return [listed.event for listed in self.page.events]


class Listing:
    """The page of one query."""

    def __init__(
        self, query: ListingQuery, catalog: EventCatalog, broadcast: EventBroadcast, documents: EventDocuments
    ) -> None:
        self._query = query
        self._catalog = catalog
        self._broadcast = broadcast
        self._documents = documents
        self._rendered_at: int | None = None
        self._state: ListingState | None = None
        self._document: Document | None = None

    def state(self) -> ListingState:
        """Returns the page as it is now: the same object as long as the page is the same."""
        self._catalog.advance()
        known, is_stale, position = self._state, self._catalog.is_stale, self._catalog.position
        if known is None or known.is_stale is not is_stale or self._rendered_at != position:
            query = self._query
            page = self._catalog.page(query.which, query.sort, limit=query.limit, after=query.after)
            if known is None or known.is_stale is not is_stale or known.page != page or self._is_behind(known):
                known = self._state = ListingState(page, is_stale, position)
                self._document = None
            self._rendered_at = position
        return known

    def document(self) -> Document:
        """Returns the page as it is now, for a reader without ratings."""
        state = self.state()
        if self._document is None:
            self._document = self.rated_document(state, {})
        return self._document

    def rated_document(self, state: ListingState, my_scores: Mapping[int, bytes] | None) -> Document:
        """Returns the page with a rater's scores: JSON by event id, or None if they cannot be read now."""
        scores = my_scores or {}
        events = (
            extended(self._documents.of(each.event, each.phase), my_score=scores.get(each.event.event_id, b"null"))
            for each in state.page.events
        )
        after = state.page.next_after
        body = b'{"events":%b,"next_cursor":%b,"stale":%b,"my_score_unknown":%b,"stream_position":%b}' % (
            joined(events),
            b"null" if after is None else json_string(self._query.cursor(after)),
            json_bool(state.is_stale),
            json_bool(my_scores is None),
            json_string(self._broadcast.token(state.position)),
        )
        return Document.of(body)

    def _is_behind(self, state: ListingState) -> bool:
        return self._catalog.position - state.position > MAX_CHANGES_BEHIND or not self._catalog.knows_position(
            state.position
        )


class EventListings:
    """The listings that were requested last, by query string."""

    def __init__(self, catalog: EventCatalog, broadcast: EventBroadcast, documents: EventDocuments) -> None:
        self._catalog = catalog
        self._broadcast = broadcast
        self._documents = documents
        self._cached: OrderedDict[bytes, Listing] = OrderedDict()

    def get(self, query_string: bytes) -> Listing | None:
        listing = self._cached.get(query_string)
        if listing is not None:
            self._cached.move_to_end(query_string)
        return listing

    def add(self, query_string: bytes, query: ListingQuery) -> Listing:
        listing = Listing(query, self._catalog, self._broadcast, self._documents)
        self._cached[query_string] = listing
        if len(self._cached) > CACHED_LISTINGS:
            self._cached.popitem(last=False)
        return listing
