"""Translates between the contract's messages and plain data.

An invalid message raises Invalid, which names the field. Enums are mapped by name, so that importing this module fails
if the contract has a value that the domain lacks. A number of a newer contract in a request raises Invalid too.
"""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from enum import Enum
from typing import Any, TypeVar, cast
from uuid import UUID

from google.protobuf.descriptor import EnumDescriptor
from google.protobuf.timestamp_pb2 import Timestamp

from line_provider.events.domain import (
    EDITABLE,
    Event,
    EventDraft,
    EventEdit,
    Invalid,
    Order,
    Phase,
    Status,
    Totals,
    check_text,
)
from line_provider.events.queries import EventFilter
from line_provider.importing.importer import Format
from line_provider.importing.rows import BadRow, ImportOptions
from line_provider.importing.times import OUTSIDE_THE_CALENDAR, parse_zone
from line_provider.scores.domain import AppliedScore, Decision, Reason, ScoreChange, Verdict, check_change
from scoreline.line_provider.v1 import events_pb2, scores_pb2

T = TypeVar("T")
EnumT = TypeVar("EnumT", bound=Enum)

_UNSPECIFIED = "UNSPECIFIED"


def _members(contract: EnumDescriptor, domain: type[EnumT]) -> dict[int, EnumT]:
    """Returns the domain's value for each number of the contract's enum but 0, which means unspecified everywhere."""
    prefix = contract.values_by_number[0].name.removesuffix(_UNSPECIFIED)
    return {value.number: domain[value.name.removeprefix(prefix)] for value in contract.values if value.number}


def _numbers(contract: EnumDescriptor, domain: type[EnumT]) -> dict[EnumT, Any]:
    """Returns the contract's number for each value of the domain's enum."""
    numbers = {member: number for number, member in _members(contract, domain).items()}
    return {member: numbers[member] for member in domain}


VERDICTS = _numbers(scores_pb2.Verdict.DESCRIPTOR, Verdict)
_REASONS = _numbers(scores_pb2.RejectionReason.DESCRIPTOR, Reason)
_STATUSES = _numbers(events_pb2.EventStatus.DESCRIPTOR, Status)
_WANTED_STATUSES = {0: None, **_members(events_pb2.EventStatus.DESCRIPTOR, Status)}
_WANTED_PHASES = {0: None, **_members(events_pb2.EventPhase.DESCRIPTOR, Phase)}
_ORDERS = {0: Order.DEADLINE, **_members(events_pb2.EventOrder.DESCRIPTOR, Order)}
_IMPORT_FORMATS = {0: Format.AUTO, **_members(events_pb2.ImportFormat.DESCRIPTOR, Format)}

DEFAULT_PAGE = 100
LARGEST_PAGE = 1000
LONGEST_QUERY = 200
LONGEST_SOURCE_NAME = 200
DEFAULT_RATE_UNTIL = timedelta(hours=48)
# The reason for a bad row may quote the row, which may be as long as the file.
_LONGEST_REASON = 500


def event_message(event: Event) -> events_pb2.Event:
    return events_pb2.Event(
        event_id=event.event_id,
        title=event.title,
        description=event.description,
        starts_at=_timestamp(event.starts_at),
        deadline=_timestamp(event.deadline),
        status=_STATUSES[event.status],
        cancelled_at=_timestamp(event.cancelled_at),
        finalized_at=_timestamp(event.finalized_at),
        totals=totals_message(event.totals),
        revision=event.revision,
        created_at=_timestamp(event.created_at),
        updated_at=_timestamp(event.updated_at),
        external_id=event.external_id or "",
    )


def totals_message(totals: Totals) -> events_pb2.ScoreTotals:
    return events_pb2.ScoreTotals(count=totals.count, sum=totals.sum, histogram=totals.histogram)


def decision_message(decision: Decision) -> scores_pb2.ScoreVerdict:
    reason = scores_pb2.REJECTION_REASON_UNSPECIFIED if decision.reason is None else _REASONS[decision.reason]
    return scores_pb2.ScoreVerdict(verdict=VERDICTS[decision.verdict], reason=reason)


def filter_of(request: events_pb2.GetEventsRequest) -> EventFilter:
    return EventFilter(
        status=_choice("status", request.status, _WANTED_STATUSES),
        phase=_choice("phase", request.phase, _WANTED_PHASES),
        query=check_text("query", request.query, at_most=LONGEST_QUERY),
    )


def order_of(request: events_pb2.GetEventsRequest) -> Order:
    return _choice("order", request.order, _ORDERS)


def page_size_of(request: events_pb2.GetEventsRequest) -> int:
    if not 0 <= request.page_size <= LARGEST_PAGE:
        raise Invalid("page_size", f"must be 1 to {LARGEST_PAGE}, or 0 for {DEFAULT_PAGE}")
    return request.page_size or DEFAULT_PAGE


def draft_of(request: events_pb2.CreateEventRequest) -> EventDraft:
    return EventDraft(**{name: _editable(request, name) for name in EDITABLE}, external_id=request.external_id or None)


def edit_of(request: events_pb2.UpdateEventRequest) -> EventEdit:
    named = set(request.update_mask.paths)
    if not named or not named.issubset(EDITABLE):
        raise Invalid("update_mask", f"must name at least one of {', '.join(EDITABLE)}, and nothing else")
    return cast(EventEdit, {name: _editable(request, name) for name in EDITABLE if name in named})


def import_format_of(request: events_pb2.ImportEventsRequest) -> Format:
    return _choice("format", request.format, _IMPORT_FORMATS)


def import_options_of(request: events_pb2.ImportEventsRequest) -> ImportOptions:
    try:
        rate_until = request.rate_until.ToTimedelta() if request.HasField("rate_until") else DEFAULT_RATE_UNTIL
    except (ValueError, OverflowError):
        raise Invalid("rate_until", "must be a time from 0 to 10,000 years") from None
    if rate_until < timedelta(0):
        raise Invalid("rate_until", "must not be negative")
    try:
        zone = parse_zone(request.time_zone or "UTC")
    except ValueError as error:
        raise Invalid("time_zone", str(error)) from None
    source_name = check_text("source_name", request.source_name, at_most=LONGEST_SOURCE_NAME) or None
    return ImportOptions(rate_until, zone, source_name)


def bad_row_message(bad: BadRow) -> events_pb2.BadRow:
    return events_pb2.BadRow(place=bad.place[:_LONGEST_REASON], reason=bad.reason[:_LONGEST_REASON])


def applied_message(score: AppliedScore) -> scores_pb2.AppliedScore:
    return scores_pb2.AppliedScore(
        rater_id=score.rater_id.bytes,
        value=score.value,
        version=score.version,
        applied_at=_timestamp(score.applied_at),
    )


def rater_id_of(field: str, rater_id: bytes) -> UUID:
    if len(rater_id) != 16:
        raise Invalid(field, f"must be the 16 bytes of a UUID, not {len(rater_id)}")
    return UUID(bytes=rater_id)


def change_of(message: scores_pb2.ScoreChange) -> ScoreChange:
    return check_change(
        ScoreChange(
            event_id=message.event_id,
            rater_id=rater_id_of("rater_id", message.rater_id),
            value=message.value if message.HasField("value") else None,
            version=message.version,
            accepted_at=_time("accepted_at", message.accepted_at, is_set=message.HasField("accepted_at")),
        )
    )


def _editable(request: Any, name: str) -> Any:
    """Reads an editable field, which the requests to create and to update an event have by the same name."""
    value = getattr(request, name)
    return _time(name, value, is_set=request.HasField(name)) if isinstance(value, Timestamp) else value


def _choice(field: str, number: int, choices: Mapping[int, T]) -> T:
    if number not in choices:
        raise Invalid(field, f"must be a number of the contract's enum, 0 to {max(choices)}")
    return choices[number]


def _time(field: str, timestamp: Timestamp, *, is_set: bool) -> datetime:
    if not is_set:
        raise Invalid(field, "must be set")
    try:
        return timestamp.ToDatetime(tzinfo=UTC)
    except (ValueError, OverflowError):
        raise Invalid(field, OUTSIDE_THE_CALENDAR) from None


def _timestamp(time: datetime | None) -> Timestamp | None:
    if time is None:
        return None
    timestamp = Timestamp()
    timestamp.FromDatetime(time)
    return timestamp
