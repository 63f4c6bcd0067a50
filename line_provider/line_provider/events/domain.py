"""Events: plain rules on plain data, which can be known without asking the database."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

LARGEST_ID = 2**63 - 1


class Status(StrEnum):
    """What the ratings that stand say: nothing yet, or whether their average reaches the threshold."""

    PROCESSING = "processing"
    LOW_SCORE = "low_score"
    HIGH_SCORE = "high_score"


class Phase(StrEnum):
    """Whether an event takes ratings now."""

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
    """The ratings that stand, added up; the histogram counts those of 1, 2, 3, 4 and 5."""

    count: int
    sum: int
    histogram: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class EventDraft:
    """What an organiser says of an event."""

    title: str
    description: str
    starts_at: datetime
    deadline: datetime
    external_id: str | None = None


@dataclass(frozen=True, slots=True)
class EventEdit:
    """What an organiser changes of an event; None leaves a field as it is."""

    title: str | None = None
    description: str | None = None
    starts_at: datetime | None = None
    deadline: datetime | None = None


@dataclass(frozen=True, slots=True)
class Event:
    """An event as it stood at one moment. `revision` grows with every change."""

    event_id: int
    external_id: str | None
    title: str
    description: str
    starts_at: datetime
    deadline: datetime
    status: Status
    cancelled_at: datetime | None
    finalized_at: datetime | None
    totals: Totals
    revision: int
    created_at: datetime
    updated_at: datetime


class Invalid(ValueError):
    """A field that is not what it must be."""

    def __init__(self, field: str, expectation: str) -> None:
        super().__init__(f"{field}: {expectation}")


# What follows is raised with the sentence that the caller is told.


class EventNotFound(Exception):
    def __init__(self, event_id: int) -> None:
        super().__init__(f"event {event_id} does not exist")


class EventCancelled(Exception):
    def __init__(self, event_id: int) -> None:
        super().__init__(f"event {event_id} is cancelled and cannot be changed any more")


class EventFinal(Exception):
    def __init__(self, event_id: int) -> None:
        super().__init__(f"the result of event {event_id} is final, and it cannot be changed any more")


class NotToBeFinal(Exception):
    def __init__(self, event_id: int, reason: str) -> None:
        super().__init__(f"the result of event {event_id} cannot be made final: {reason}")


class ExternalIdTaken(Exception):
    def __init__(self, external_id: str) -> None:
        super().__init__(f"there is an event with the external_id {external_id!r} already")


def phase_of(event: Event, now: datetime) -> Phase:
    """The deadline is the last moment at which the event is open."""
    if event.cancelled_at is not None:
        return Phase.CANCELLED
    if event.finalized_at is not None:
        return Phase.FINAL
    return Phase.OPEN if now <= event.deadline else Phase.CLOSED


def check_final(event: Event, *, count: int, total: int, now: datetime) -> None:
    """Whether the result may be made final, given what the caller says it adds up to. Raises NotToBeFinal."""
    if event.cancelled_at is not None:
        raise NotToBeFinal(event.event_id, "it is cancelled")
    if now <= event.deadline:
        raise NotToBeFinal(event.event_id, f"its deadline is {event.deadline.isoformat()}")
    if (count, total) != (event.totals.count, event.totals.sum):
        here = f"count {event.totals.count}, sum {event.totals.sum}"
        raise NotToBeFinal(event.event_id, f"here stands {here}, not count {count}, sum {total}")


def check_draft(draft: EventDraft) -> EventDraft:
    """The draft, or Invalid."""
    check_text("title", draft.title, at_most=200)
    if not draft.title.strip():
        raise Invalid("title", "must be 1 to 200 characters, and not only spaces")
    check_text("description", draft.description, at_most=10_000)
    if draft.deadline < draft.starts_at:
        raise Invalid("deadline", "must not be before starts_at")
    if draft.external_id is not None:
        check_text("external_id", draft.external_id, at_most=200)
    return draft


def draft_after(event: Event, edit: EventEdit) -> EventDraft:
    """What the organiser says of the event after the edit, or Invalid."""
    return check_draft(
        EventDraft(
            title=event.title if edit.title is None else edit.title,
            description=event.description if edit.description is None else edit.description,
            starts_at=edit.starts_at or event.starts_at,
            deadline=edit.deadline or event.deadline,
            external_id=event.external_id,
        )
    )


def check_event_id(event_id: int, field: str = "event_id") -> int:
    if not 1 <= event_id <= LARGEST_ID:
        raise Invalid(field, f"must be 1 to {LARGEST_ID}")
    return event_id


def check_text(field: str, value: str, *, at_most: int) -> str:
    """The text if it is short enough and PostgreSQL can hold it."""
    if len(value) > at_most:
        raise Invalid(field, f"must be at most {at_most:,} characters, not {len(value):,}")
    if "\0" in value or any("\ud800" <= character <= "\udfff" for character in value):
        raise Invalid(field, "must not contain NUL characters or unpaired surrogates")
    return value
