"""What GET /events answers: pages of the catalog, made again only when an event has changed.

A page that has not changed keeps its bytes, and so its ETag, while other events change: its stream position stays
behind then, which only means that a listener is told of those too.
"""

import json
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import blake2b

from pydantic import FiniteFloat, TypeAdapter

from score_maker.events.broadcast import EventChanges
from score_maker.events.catalog import Event, EventCatalog, EventPage, Filter, Sort, SortKey
from score_maker.http.events.cursors import foreign_cursor, read_cursor, write_cursor
from score_maker.http.events.documents import EventDocuments, extended, joined, json_bool, json_string
from score_maker.http.headers.etag import Document

# How many query strings are remembered.
KEPT_LISTINGS = 128
# How many changes a page's stream position may be behind.
MOST_BEHIND = 1000

_CURSOR = TypeAdapter(tuple[str, FiniteFloat, int])


@dataclass(frozen=True, slots=True)
class ListingQuery:
    which: Filter
    sort: Sort
    limit: int
    after: SortKey | None

    @classmethod
    def of(cls, which: Filter, sort: Sort, limit: int, cursor: str | None) -> "ListingQuery":
        """Raises Problem where the cursor does not belong to this filter and order."""
        if cursor is None:
            return cls(which, sort, limit, None)
        fingerprint, value, event_id = read_cursor(cursor, _CURSOR)
        if fingerprint != _fingerprint(which, sort):
            raise foreign_cursor()
        return cls(which, sort, limit, (value, event_id))

    def cursor(self, after: SortKey) -> str:
        """What leads to the page after the sort key."""
        return write_cursor((_fingerprint(self.which, self.sort), *after), _CURSOR)


def _fingerprint(which: Filter, sort: Sort) -> str:
    return blake2b(json.dumps([sort, which.status, which.phase, which.words]).encode(), digest_size=6).hexdigest()


@dataclass(frozen=True, slots=True)
class ListingState:
    """A page as it was at one moment, and the position from which on a listener learns of what it does not show."""

    page: EventPage
    is_stale: bool
    position: int

    @property
    def events(self) -> list[Event]:
        return [listed.event for listed in self.page.events]


class Listing:
    """The page that a query asks for."""

    def __init__(
        self, query: ListingQuery, catalog: EventCatalog, changes: EventChanges, documents: EventDocuments
    ) -> None:
        self._query = query
        self._catalog = catalog
        self._changes = changes
        self._documents = documents
        self._looked_at: int | None = None
        self._state: ListingState | None = None
        self._document: Document | None = None

    def state(self) -> ListingState:
        """The page as it is now; the very same state as long as the page is the same."""
        self._catalog.advance()
        known, is_stale, position = self._state, self._catalog.is_stale, self._catalog.position
        if known is None or known.is_stale is not is_stale or self._looked_at != position:
            query = self._query
            page = self._catalog.page(query.which, query.sort, limit=query.limit, after=query.after)
            if known is None or known.is_stale is not is_stale or known.page != page or self._is_behind(known):
                known = self._state = ListingState(page, is_stale, position)
                self._document = None
            self._looked_at = position
        return known

    def document(self) -> Document:
        """The page as it is now, for a reader who has no ratings."""
        state = self.state()
        if self._document is None:
            self._document = self.rated_document(state, {})
        return self._document

    def rated_document(self, state: ListingState, my_scores: Mapping[int, bytes] | None) -> Document:
        """The page for the rater whose scores these are: JSON by event id, or None where they cannot be known now."""
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
            json_string(self._changes.token(state.position)),
        )
        return Document.of(body)

    def _is_behind(self, state: ListingState) -> bool:
        return self._catalog.position - state.position > MOST_BEHIND or not self._catalog.knows_position(state.position)


class EventListings:
    """The listings that were asked for last, each under the query string that asked for it."""

    def __init__(self, catalog: EventCatalog, changes: EventChanges, documents: EventDocuments) -> None:
        self._catalog = catalog
        self._changes = changes
        self._documents = documents
        self._kept: OrderedDict[bytes, Listing] = OrderedDict()

    def get(self, query_string: bytes) -> Listing | None:
        listing = self._kept.get(query_string)
        if listing is not None:
            self._kept.move_to_end(query_string)
        return listing

    def add(self, query_string: bytes, query: ListingQuery) -> Listing:
        listing = Listing(query, self._catalog, self._changes, self._documents)
        self._kept[query_string] = listing
        if len(self._kept) > KEPT_LISTINGS:
            self._kept.popitem(last=False)
        return listing
