"""Ratings as line_provider receives them: plain data, and the rules that can be checked without asking the database.

Whether an event accepts a rating, and which status its totals give it, can only be decided under the event's lock. The
statement that holds the lock decides it: see apply.py.
"""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from uuid import UUID

from line_provider.events.domain import Invalid, check_event_id
from line_provider.scale import SCALE

LARGEST_VERSION = 2**31 - 1


class Verdict(StrEnum):
    """What line_provider decided about one change; only REJECTED comes with a reason."""

    APPLIED = "applied"
    DUPLICATE = "duplicate"
    REJECTED = "rejected"


class Reason(StrEnum):
    """Why a change was rejected. If several reasons apply, it is the first of them in this order."""

    INVALID = "invalid"
    EVENT_NOT_FOUND = "event_not_found"
    EVENT_CANCELLED = "event_cancelled"
    EVENT_FINAL = "event_final"
    DEADLINE_PASSED = "deadline_passed"


@dataclass(frozen=True, slots=True)
class Decision:
    """The verdict on one change, with the reason if the change was rejected."""

    verdict: Verdict
    reason: Reason | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreChange:
    """One version of one rater's score of one event; a value of None is a withdrawal."""

    event_id: int
    rater_id: UUID
    value: int | None
    version: int
    accepted_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class AppliedScore:
    """The highest version of one rater's score of an event that was applied; a value of None is a withdrawal."""

    rater_id: UUID
    value: int | None
    version: int
    applied_at: datetime


class ScoreRejected(Exception):
    """The single form of applying a score was rejected; the message is sent to the caller."""

    def __init__(self, event_id: int, reason: Reason) -> None:
        super().__init__(f"event {event_id} does not accept the rating: {reason.replace('_', ' ')}")


def check_change(change: ScoreChange) -> ScoreChange:
    """Returns the change. Raises Invalid if it breaks the contract; whether its event accepts it is not checked."""
    check_event_id(change.event_id)
    if change.value is not None and change.value not in SCALE:
        raise Invalid("value", f"must be {SCALE[0]} to {SCALE[-1]}, or absent for a withdrawal")
    if not 1 <= change.version <= LARGEST_VERSION:
        raise Invalid("version", f"must be 1 to {LARGEST_VERSION}")
    return change
