"""Between the contract's messages and plain data. Whatever a message gets wrong is Invalid, naming the field."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar
from uuid import UUID

from google.protobuf.timestamp_pb2 import Timestamp

from line_provider.events.domain import (
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
from line_provider.importing.importer import BadRow, Format, Rules, parse_zone
from line_provider.scores.domain import AppliedScore, Reason, Ruling, ScoreChange, Verdict, check_change
from scoreline.line_provider.v1 import events_pb2, scores_pb2

T = TypeVar("T")

_STATUSES = {
    Status.PROCESSING: events_pb2.EVENT_STATUS_PROCESSING,
    Status.LOW_SCORE: events_pb2.EVENT_STATUS_LOW_SCORE,
    Status.HIGH_SCORE: events_pb2.EVENT_STATUS_HIGH_SCORE,
}
_WANTED_STATUSES = {
    events_pb2.EVENT_STATUS_UNSPECIFIED: None,
    **{number: status for status, number in _STATUSES.items()},
}
_WANTED_PHASES = {
    events_pb2.EVENT_PHASE_UNSPECIFIED: None,
    events_pb2.EVENT_PHASE_OPEN: Phase.OPEN,
    events_pb2.EVENT_PHASE_CLOSED: Phase.CLOSED,
    events_pb2.EVENT_PHASE_CANCELLED: Phase.CANCELLED,
    events_pb2.EVENT_PHASE_FINAL: Phase.FINAL,
}
_ORDERS = {
    events_pb2.EVENT_ORDER_UNSPECIFIED: Order.DEADLINE,
    events_pb2.EVENT_ORDER_DEADLINE: Order.DEADLINE,
    events_pb2.EVENT_ORDER_STARTS_AT: Order.STARTS_AT,
    events_pb2.EVENT_ORDER_NEWEST: Order.NEWEST,
}
VERDICTS = {
    Verdict.APPLIED: scores_pb2.VERDICT_APPLIED,
    Verdict.DUPLICATE: scores_pb2.VERDICT_DUPLICATE,
    Verdict.REJECTED: scores_pb2.VERDICT_REJECTED,
}
_REASONS = {
    None: scores_pb2.REJECTION_REASON_UNSPECIFIED,
    Reason.INVALID: scores_pb2.REJECTION_REASON_INVALID,
    Reason.EVENT_NOT_FOUND: scores_pb2.REJECTION_REASON_EVENT_NOT_FOUND,
    Reason.EVENT_CANCELLED: scores_pb2.REJECTION_REASON_EVENT_CANCELLED,
    Reason.EVENT_FINAL: scores_pb2.REJECTION_REASON_EVENT_FINAL,
    Reason.DEADLINE_PASSED: scores_pb2.REJECTION_REASON_DEADLINE_PASSED,
}
_IMPORT_FORMATS = {
    events_pb2.IMPORT_FORMAT_UNSPECIFIED: Format.AUTO,
    events_pb2.IMPORT_FORMAT_FIXTURES: Format.FIXTURES,
    events_pb2.IMPORT_FORMAT_CSV: Format.CSV,
    events_pb2.IMPORT_FORMAT_JSON_LINES: Format.JSON_LINES,
}
_RATE_UNTIL = timedelta(hours=48)
# A row may hold a long text, and its reason says what is wrong with it.
_LONGEST_REASON = 500
_EDITABLE = ("title", "description", "starts_at", "deadline")


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


def ruling_message(ruling: Ruling) -> scores_pb2.ScoreVerdict:
    return scores_pb2.ScoreVerdict(verdict=VERDICTS[ruling.verdict], reason=_REASONS[ruling.reason])


def filter_of(request: events_pb2.GetEventsRequest) -> EventFilter:
    return EventFilter(
        status=_choice("status", request.status, _WANTED_STATUSES),
        phase=_choice("phase", request.phase, _WANTED_PHASES),
        query=check_text("query", request.query, at_most=200),
    )


def order_of(request: events_pb2.GetEventsRequest) -> Order:
    return _choice("order", request.order, _ORDERS)


def page_size_of(request: events_pb2.GetEventsRequest) -> int:
    if not 0 <= request.page_size <= 1000:
        raise Invalid("page_size", "must be 1 to 1000, or 0 for 100")
    return request.page_size or 100


def draft_of(request: events_pb2.CreateEventRequest) -> EventDraft:
    return EventDraft(
        title=request.title,
        description=request.description,
        starts_at=_time("starts_at", request.starts_at, is_set=request.HasField("starts_at")),
        deadline=_time("deadline", request.deadline, is_set=request.HasField("deadline")),
        external_id=request.external_id or None,
    )


def edit_of(request: events_pb2.UpdateEventRequest) -> EventEdit:
    named = set(request.update_mask.paths)
    if not named or not named.issubset(_EDITABLE):
        raise Invalid("update_mask", f"must name at least one of {', '.join(_EDITABLE)}, and nothing else")
    starts_at = deadline = None
    if "starts_at" in named:
        starts_at = _time("starts_at", request.starts_at, is_set=request.HasField("starts_at"))
    if "deadline" in named:
        deadline = _time("deadline", request.deadline, is_set=request.HasField("deadline"))
    return EventEdit(
        title=request.title if "title" in named else None,
        description=request.description if "description" in named else None,
        starts_at=starts_at,
        deadline=deadline,
    )


def import_format_of(request: events_pb2.ImportEventsRequest) -> Format:
    return _choice("format", request.format, _IMPORT_FORMATS)


def import_rules_of(request: events_pb2.ImportEventsRequest) -> Rules:
    try:
        rate_until = request.rate_until.ToTimedelta() if request.HasField("rate_until") else _RATE_UNTIL
    except (ValueError, OverflowError):
        raise Invalid("rate_until", "must be a time from 0 to 10,000 years") from None
    if rate_until < timedelta(0):
        raise Invalid("rate_until", "must not be negative")
    try:
        zone = parse_zone(request.time_zone or "UTC")
    except ValueError as error:
        raise Invalid("time_zone", str(error)) from None
    return Rules(rate_until, zone, check_text("source_name", request.source_name, at_most=200) or None)


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


def _choice(field: str, number: int, choices: Mapping[Any, T]) -> T:
    if number not in choices:
        raise Invalid(field, f"must be one of the contract's numbers, 0 to {max(choices)}")
    return choices[number]


def _time(field: str, timestamp: Timestamp, *, is_set: bool) -> datetime:
    if not is_set:
        raise Invalid(field, "must be set")
    try:
        return timestamp.ToDatetime(tzinfo=UTC)
    except (ValueError, OverflowError):
        raise Invalid(field, "must be a time from the year 1 to the year 9999") from None


def _timestamp(time: datetime | None) -> Timestamp | None:
    if time is None:
        return None
    timestamp = Timestamp()
    timestamp.FromDatetime(time)
    return timestamp
