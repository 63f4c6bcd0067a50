"""The events as clients see them: each event's JSON, pages of the list, and the stream of changes."""

from dataclasses import dataclass
from typing import Self

from score_maker.composition import Services
from score_maker.http.events.documents import EventDocuments
from score_maker.http.events.listings import EventListings
from score_maker.http.events.stream import EventStream
from score_maker.settings import Settings


@dataclass(frozen=True, slots=True)
class EventViews:
    """What is rendered once for all clients of a process."""

    documents: EventDocuments
    listings: EventListings
    stream: EventStream

    @classmethod
    def of(cls, services: Services, settings: Settings) -> Self:
        documents = EventDocuments()
        return cls(
            documents,
            EventListings(services.catalog, services.broadcast, documents),
            EventStream(
                services.catalog,
                services.broadcast,
                documents,
                heartbeat=settings.stream_heartbeat,
                max_subscribers=settings.max_listeners,
            ),
        )
