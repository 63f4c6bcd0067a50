"""The JSON representation of a score, wherever it appears."""

from datetime import datetime
from hashlib import blake2b
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field, JsonValue
from pydantic_core import to_json

from score_maker.events.event import Event
from score_maker.http.headers.etag import Document
from score_maker.ratings.domain import Score, State

EXAMPLE: dict[str, JsonValue] = {
    "event_id": 17,
    "score": 5,
    "state": "pending",
    "reason": None,
    "version": 1,
    "confirmed_score": None,
    "accepted_at": "2026-06-11T21:07:03.511Z",
    "settled_at": None,
    "mutable_until": "2026-06-13T19:00:00Z",
}


class ScoreResource(BaseModel):
    model_config = ConfigDict(json_schema_extra={"example": EXAMPLE})

    event_id: int
    score: int | None = Field(description="Your rating as it stands; null if none does")
    state: State = Field(
        description="What became of your latest submission: `pending` until line_provider has decided on it"
    )
    reason: str | None = Field(description="Why it was rejected; your last confirmed rating then stands again")
    version: int = Field(description="Incremented by every change of your rating of this event")
    confirmed_score: int | None = Field(description="What counts in the event's figures")
    accepted_at: datetime
    settled_at: datetime | None
    mutable_until: datetime | None = Field(description="The event's deadline, if it is known")

    @classmethod
    def of(cls, score: Score, event: Event | None) -> Self:
        return cls(**_members(score, event))


def document_of(score: Score, event: Event | None) -> Document:
    """Returns the JSON of the ScoreResource, serialized without making and validating one.

    Its tag starts with the version, and changes with everything else that is shown.
    """
    body = to_json(_members(score, event))
    return Document(body, f'"{score.version}-{blake2b(body, digest_size=6).hexdigest()}"')


def _members(score: Score, event: Event | None) -> dict[str, Any]:
    return {
        "event_id": score.event_id,
        "score": score.value,
        "state": score.state,
        "reason": score.reason,
        "version": score.version,
        "confirmed_score": score.confirmed_value,
        "accepted_at": score.accepted_at,
        "settled_at": score.settled_at,
        "mutable_until": event.deadline if event else None,
    }
