"""line_provider's messages as plain data. Fields of the same name are taken over; this module says what differs."""

from dataclasses import fields
from datetime import UTC
from types import NoneType
from typing import Any, get_args, get_type_hints

from google.protobuf.timestamp_pb2 import Timestamp

from score_maker.events.event import Event, Status
from scoreline.line_provider.v1 import events_pb2
from scoreline_common.unknown_values import report_unknown_value

_STATUSES = {
    number: Status(name.removeprefix("EVENT_STATUS_"))
    for name, number in events_pb2.EventStatus.items()
    if number != events_pb2.EVENT_STATUS_UNSPECIFIED
}
_TAKEN_OVER = tuple(
    field.name for field in fields(Event) if field.name not in {"status", "score_count", "score_sum", "histogram"}
)

_NULLABLE = {name for name, hint in get_type_hints(Event).items() if NoneType in get_args(hint)}


def event_of(message: events_pb2.Event) -> Event:
    """Returns the event that the message describes; a status of a newer line_provider is UNKNOWN.

    Raises ValueError if a time is outside the range of datetime.
    """
    status = _STATUSES.get(message.status)
    if status is None:
        report_unknown_value("EventStatus", message.status)
        status = Status.UNKNOWN
    totals = message.totals
    return Event(
        status=status,
        score_count=totals.count,
        score_sum=totals.sum,
        histogram=tuple(totals.histogram),
        **{name: _value(message, name) for name in _TAKEN_OVER},
    )


def _value(message: events_pb2.Event, name: str) -> Any:
    value = getattr(message, name)
    if not isinstance(value, Timestamp):
        return value
    if name in _NULLABLE and not message.HasField(name):  # type: ignore[arg-type]
        return None
    return value.ToDatetime(tzinfo=UTC)
