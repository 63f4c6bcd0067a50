"""Events as JSON. The bytes are made once for each state of an event, and joined into whatever is answered."""

from collections.abc import Iterable
from datetime import datetime

from pydantic import BaseModel, ConfigDict, Field
from pydantic.config import JsonDict

from score_maker.events.catalog import Event, Phase, Status
from score_maker.http.scores.resource import ScoreResource

_EXAMPLE: JsonDict = {
    "event_id": 17,
    "title": "Mexico – South Africa",
    "description": "World Cup 2026, Group A, Mexico City",
    "starts_at": "2026-06-11T19:00:00Z",
    "deadline": "2026-06-13T19:00:00Z",
    "phase": "open",
    "status": "HIGH_SCORE",
    "average": 4.5,
    "score_count": 2,
    "histogram": [0, 0, 0, 1, 1],
    "cancelled_at": None,
    "finalized_at": None,
}
_RATED_EXAMPLE: JsonDict = {**_EXAMPLE, "my_score": None}


class EventResource(BaseModel):
    model_config = ConfigDict(json_schema_extra={"example": _EXAMPLE})

    event_id: int
    title: str
    description: str
    starts_at: datetime
    deadline: datetime = Field(description="The last moment at which a rating is accepted")
    phase: Phase = Field(description="`open` events can be rated")
    status: Status = Field(description="PROCESSING until a rating stands; then by the average")
    average: float | None = Field(description="null where no rating stands")
    score_count: int
    histogram: tuple[int, ...] = Field(description="How many ratings of 1, 2, 3, 4 and 5 stand")
    cancelled_at: datetime | None
    finalized_at: datetime | None

    @classmethod
    def of(cls, event: Event, phase: Phase) -> "EventResource":
        return EventResource(
            event_id=event.event_id,
            title=event.title,
            description=event.description,
            starts_at=event.starts_at,
            deadline=event.deadline,
            phase=phase,
            status=event.status,
            average=event.average,
            score_count=event.score_count,
            histogram=event.histogram,
            cancelled_at=event.cancelled_at,
            finalized_at=event.finalized_at,
        )


class RatedEventResource(EventResource):
    model_config = ConfigDict(json_schema_extra={"example": _RATED_EXAMPLE})

    my_score: ScoreResource | None = Field(
        description="Your own rating; null where you have none, or where no cookie or token names you"
    )


_STALE = Field(description="line_provider is not heard just now: the figures may be behind")
_MY_SCORE_UNKNOWN = Field(
    description="The database cannot be asked just now: `my_score` is null although you may have rated"
)


class EventsResource(BaseModel):
    events: list[RatedEventResource]
    next_cursor: str | None = Field(description="Pass as `cursor` for the next page; null on the last one")
    stale: bool = _STALE
    my_score_unknown: bool = _MY_SCORE_UNKNOWN
    stream_position: str = Field(
        description="Pass as `after` to `GET /events/stream` to be told what changes from here on",
        examples=["5f0c9a1e-1284"],
    )


class SingleEventResource(RatedEventResource):
    model_config = ConfigDict(
        json_schema_extra={"example": {**_RATED_EXAMPLE, "stale": False, "my_score_unknown": False}}
    )

    stale: bool = _STALE
    my_score_unknown: bool = _MY_SCORE_UNKNOWN


class EventDocuments:
    """Each event's latest JSON, kept while the catalog has the event so."""

    def __init__(self) -> None:
        self._made: dict[int, tuple[Event, Phase, bytes]] = {}

    def of(self, event: Event, phase: Phase) -> bytes:
        """The JSON of an EventResource."""
        made = self._made.get(event.event_id)
        if made is None or made[0] is not event or made[1] is not phase:
            made = event, phase, EventResource.of(event, phase).model_dump_json().encode()
            self._made[event.event_id] = made
        return made[2]


def extended(json_object: bytes, **members: bytes) -> bytes:
    """The JSON object with more members, whose values are JSON too."""
    more = b"".join(b',"%b":%b' % (name.encode(), value) for name, value in members.items())
    return b"%b%b}" % (json_object[:-1], more)


def joined(json_values: Iterable[bytes]) -> bytes:
    """The JSON array of these."""
    return b"[%b]" % b",".join(json_values)


def json_bool(value: bool) -> bytes:
    return b"true" if value else b"false"


def json_string(ascii_text: str) -> bytes:
    return b'"%b"' % ascii_text.encode("ascii")
