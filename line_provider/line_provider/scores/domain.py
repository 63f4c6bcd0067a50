"""Ratings on their way into an event's totals: plain rules on plain data.

What must be decided under a lock on the event (whether it admits a rating, which status its totals give it) is decided
by the one statement that holds the lock, in apply.py; here is what can be known without asking the database.
"""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from uuid import UUID

from line_provider.events.domain import Invalid, check_event_id

LARGEST_VERSION = 2**31 - 1


class Verdict(StrEnum):
    """What became of one change of a rating; only REJECTED comes with a reason."""

    APPLIED = "applied"
    DUPLICATE = "duplicate"
    REJECTED = "rejected"


class Reason(StrEnum):
    """Why a change was rejected, the first that holds."""

    INVALID = "invalid"
    EVENT_NOT_FOUND = "event_not_found"
    EVENT_CANCELLED = "event_cancelled"
    EVENT_FINAL = "event_final"
    DEADLINE_PASSED = "deadline_passed"


@dataclass(frozen=True, slots=True)
class ScoreChange:
    """One version of one rater's rating of one event; a value of None is a withdrawal."""

    event_id: int
    rater_id: UUID
    value: int | None
    version: int
    accepted_at: datetime


@dataclass(frozen=True, slots=True)
class AppliedScore:
    """The highest version that was applied of one rater's rating of an event."""

    rater_id: UUID
    value: int | None
    version: int
    applied_at: datetime


@dataclass(frozen=True, slots=True)
class Ruling:
    """The verdict on one change."""

    verdict: Verdict
    reason: Reason | None = None


class ScoreRefused(Exception):
    def __init__(self, event_id: int, reason: Reason) -> None:
        super().__init__(f"event {event_id} refuses the rating: {reason.replace('_', ' ')}")


def check_change(change: ScoreChange) -> ScoreChange:
    """The change if it keeps the contract, else Invalid. Says nothing of whether its event admits it."""
    check_event_id(change.event_id)
    if change.value is not None and not 1 <= change.value <= 5:
        raise Invalid("value", "must be 1 to 5, or absent for a withdrawal")
    if not 1 <= change.version <= LARGEST_VERSION:
        raise Invalid("version", "must be 1 or more")
    return change
