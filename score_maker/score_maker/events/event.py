"""An event as score_maker knows it: plain data, named once."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class Status(StrEnum):
    """What the ratings of an event add up to."""

    PROCESSING = "PROCESSING"
    LOW_SCORE = "LOW_SCORE"
    HIGH_SCORE = "HIGH_SCORE"
    UNKNOWN = "UNKNOWN"
    """A status of a newer line_provider."""


class Phase(StrEnum):
    """Whether an event can be rated."""

    OPEN = "open"
    CLOSED = "closed"
    FINAL = "final"
    CANCELLED = "cancelled"


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """An event as of one revision. `histogram` counts the ratings of each number of the scale, lowest first."""

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
