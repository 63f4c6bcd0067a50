"""Events: plain data, and the rules that can be checked without asking the database."""

from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import TypedDict, TypeVar

LARGEST_ID = 2**63 - 1

LONGEST_TITLE = 200
LONGEST_DESCRIPTION = 10_000
LONGEST_EXTERNAL_ID = 200


class Status(StrEnum):
    """What the ratings add up to: none yet, or an average below the threshold, or one that reaches it."""

    PROCESSING = "processing"
    LOW_SCORE = "low_score"
    HIGH_SCORE = "high_score"


class Phase(StrEnum):
    """Whether an event accepts ratings now, and if not, why."""

    OPEN = "open"
    CLOSED = "closed"
    CANCELLED = "cancelled"
    FINAL = "final"


class Order(StrEnum):
    """The order of a listing. Events that compare equal are ordered by id."""

    DEADLINE = "deadline"
    STARTS_AT = "starts_at"
    NEWEST = "newest"


@dataclass(frozen=True, slots=True)
class Totals:
    """The ratings that count now, added up. `histogram` counts them by value, in the order of SCALE."""

    count: int
    sum: int
    histogram: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class EventDraft:
    """What the organiser decides about an event. The fields have the names of the columns."""

    title: str
    description: str
    starts_at: datetime
    deadline: datetime
    external_id: str | None = None


class EventEdit(TypedDict, total=False):
    """The new values of those fields that the organiser changes; fields that are absent stay as they are."""

    title: str
    description: str
    starts_at: datetime
    deadline: datetime


EDITABLE = tuple(EventEdit.__annotations__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Event(EventDraft):
    """An event as of one moment. `revision` grows with every change."""

    event_id: int
    status: Status
    cancelled_at: datetime | None
    finalized_at: datetime | None
    totals: Totals
    revision: int
    created_at: datetime
    updated_at: datetime


DraftT = TypeVar("DraftT", bound=EventDraft)


class Invalid(ValueError):
    """A field has a value that it must not have."""

    def __init__(self, field: str, expectation: str) -> None:
        super().__init__(f"{field}: {expectation}")


# The messages of the exceptions below are sent to the caller.


class EventNotFound(Exception):
    def __init__(self, event_id: int) -> None:
        super().__init__(f"event {event_id} does not exist")


class EventCancelled(Exception):
    def __init__(self, event_id: int) -> None:
        super().__init__(f"event {event_id} is cancelled and can no longer be changed")


class EventFinal(Exception):
    def __init__(self, event_id: int) -> None:
        super().__init__(f"the result of event {event_id} is final, and the event can no longer be changed")


class CannotFinalize(Exception):
    def __init__(self, event_id: int, reason: str) -> None:
        super().__init__(f"the result of event {event_id} cannot be made final: {reason}")


class ExternalIdTaken(Exception):
    def __init__(self, external_id: str) -> None:
        super().__init__(f"an event with the external_id {external_id!r} already exists")


def phase_of(event: Event, now: datetime) -> Phase:
    """Returns the event's phase at that time. The deadline itself is the last moment at which the event is open."""
    if event.cancelled_at is not None:
        return Phase.CANCELLED
    if event.finalized_at is not None:
        return Phase.FINAL
    return Phase.OPEN if now <= event.deadline else Phase.CLOSED


def check_can_finalize(event: Event, *, count: int, total: int, now: datetime) -> None:
    """Raises CannotFinalize unless the deadline has passed and the caller's count and sum equal those stored here."""
    if event.cancelled_at is not None:
        raise CannotFinalize(event.event_id, "it is cancelled")
    if now <= event.deadline:
        raise CannotFinalize(event.event_id, f"its deadline, {event.deadline.isoformat()}, has not passed")
    if (count, total) != (event.totals.count, event.totals.sum):
        stored = f"count {event.totals.count}, sum {event.totals.sum}"
        raise CannotFinalize(event.event_id, f"line_provider has {stored}, not count {count}, sum {total}")


def check_draft(draft: DraftT) -> DraftT:
    """Returns the draft. Raises Invalid."""
    check_text("title", draft.title, at_most=LONGEST_TITLE)
    if not draft.title.strip():
        raise Invalid("title", f"must be 1 to {LONGEST_TITLE} characters, and not only spaces")
    check_text("description", draft.description, at_most=LONGEST_DESCRIPTION)
    if draft.deadline < draft.starts_at:
        raise Invalid("deadline", "must not be before starts_at")
    if draft.external_id is not None:
        check_text("external_id", draft.external_id, at_most=LONGEST_EXTERNAL_ID)
    return draft


def edited(event: Event, edit: EventEdit) -> Event:
    """Returns the event with the edit made. Raises Invalid: the fields are checked together, changed or not."""
    return check_draft(replace(event, **edit))


def check_event_id(event_id: int, field: str = "event_id") -> int:
    """Returns the id. Raises Invalid, which names the field, unless an event could have this id."""
    if not 1 <= event_id <= LARGEST_ID:
        raise Invalid(field, f"must be 1 to {LARGEST_ID}")
    return event_id


def check_text(field: str, value: str, *, at_most: int) -> str:
    """Returns the text. Raises Invalid if it is longer than `at_most` characters or PostgreSQL cannot store it."""
    if len(value) > at_most:
        raise Invalid(field, f"must be at most {at_most:,} characters, not {len(value):,}")
    if "\0" in value or any("\ud800" <= character <= "\udfff" for character in value):
        raise Invalid(field, "must not contain NUL characters or unpaired surrogates")
    return value
