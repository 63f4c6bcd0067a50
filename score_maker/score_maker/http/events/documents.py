"""Events as JSON. The bytes are rendered once for each state of an event, and joined into every response."""

from collections.abc import Iterable
from datetime import datetime

from pydantic import BaseModel, ConfigDict, Field
from pydantic.config import JsonDict

from score_maker.events.event import Event, Phase, Status
from score_maker.http.scores.resource import ScoreResource
from score_maker.ratings.domain import SCALE

_NUMBERS = f"{', '.join(map(str, SCALE[:-1]))} and {SCALE[-1]}"

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
    status: Status = Field(
        description="PROCESSING until a rating stands; then by the average. UNKNOWN during an upgrade only"
    )
    average: float | None = Field(description="null if no rating stands")
    score_count: int
    histogram: tuple[int, ...] = Field(description=f"How many ratings of {_NUMBERS} stand")
    cancelled_at: datetime | None
    finalized_at: datetime | None

    @classmethod
    def of(cls, event: Event, phase: Phase) -> "EventResource":
        named = cls.model_fields.keys() - {"phase"}
        return EventResource(phase=phase, **{name: getattr(event, name) for name in named})


class RatedEventResource(EventResource):
    model_config = ConfigDict(json_schema_extra={"example": _RATED_EXAMPLE})

    my_score: ScoreResource | None = Field(
        description="Your own rating; null if you have none, or if no cookie or token identifies you"
    )


_STALE = Field(description="The connection to line_provider is interrupted: the figures may be out of date")
_MY_SCORE_UNKNOWN = Field(description="The database is unreachable: `my_score` is null although you may have rated")


class EventsResource(BaseModel):
    events: list[RatedEventResource]
    next_cursor: str | None = Field(description="Pass as `cursor` for the next page; null on the last one")
    stale: bool = _STALE
    my_score_unknown: bool = _MY_SCORE_UNKNOWN
    stream_position: str = Field(
        description="Pass as `after` to `GET /events/stream` to get everything that changes from here on",
        examples=["5f0c9a1e-1284"],
    )


class SingleEventResource(RatedEventResource):
    model_config = ConfigDict(
        json_schema_extra={"example": {**_RATED_EXAMPLE, "stale": False, "my_score_unknown": False}}
    )

    stale: bool = _STALE
    my_score_unknown: bool = _MY_SCORE_UNKNOWN


class EventDocuments:
    """Each event's latest JSON, cached while the event stays the same."""

    def __init__(self) -> None:
        self._rendered: dict[int, tuple[Event, Phase, bytes]] = {}

    def of(self, event: Event, phase: Phase) -> bytes:
        """Returns the JSON of an EventResource."""
        cached = self._rendered.get(event.event_id)
        if cached is None or cached[0] is not event or cached[1] is not phase:
            cached = event, phase, EventResource.of(event, phase).model_dump_json().encode()
            self._rendered[event.event_id] = cached
        return cached[2]


def extended(json_object: bytes, **members: bytes) -> bytes:
    """Returns the JSON object with more members, whose values are JSON too."""
    more = b"".join(b',"%b":%b' % (name.encode(), value) for name, value in members.items())
    return b"%b%b}" % (json_object[:-1], more)


def joined(json_values: Iterable[bytes]) -> bytes:
    """Returns the JSON array of these values."""
    return b"[%b]" % b",".join(json_values)


def json_bool(value: bool) -> bytes:
    return b"true" if value else b"false"


def json_string(ascii_text: str) -> bytes:
    return b'"%b"' % ascii_text.encode("ascii")
