"""line_provider's events as organisers change them. A change comes back to the catalog through the feed."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

import grpc
import structlog
from google.protobuf.duration_pb2 import Duration

from score_maker.events.event import Event
from score_maker.events.translate import event_of
from scoreline.line_provider.v1 import events_pb2
from scoreline.line_provider.v1.events_pb2_grpc import EventServiceStub
from scoreline_common.telemetry.tracing import traceparent

log = structlog.get_logger(__name__)

TIMEOUT_SECONDS = 5
IMPORT_TIMEOUT_SECONDS = 30


class InvalidField(Exception):
    """line_provider rejects a field of the request and says what it must be."""

    def __init__(self, field: str, expectation: str) -> None:
        super().__init__(f"{field}: {expectation}")
        self.field = field
        self.expectation = expectation


class NoSuchEvent(Exception):
    """line_provider has no event with that id."""


class ExternalIdTaken(Exception):
    """Another event has that external_id."""


class EventUnchangeable(Exception):
    """The event is cancelled, or its result is final."""


class LineProviderUnavailable(Exception):
    """line_provider did not answer; whether it carried out the request is unknown."""


class LineProviderFailed(Exception):
    """line_provider gave an answer outside its contract, or its address or token in the settings is wrong."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EventDraft:
    """A new event. Its external id, if it has one, keeps a repeated request from creating it twice."""

    title: str
    description: str
    starts_at: datetime
    deadline: datetime
    external_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class EventEdit:
    """The fields to change; None leaves a field as it is."""

    title: str | None = None
    description: str | None = None
    starts_at: datetime | None = None
    deadline: datetime | None = None


class FileFormat(StrEnum):
    """How a file lists events; AUTO lets line_provider detect it."""

    AUTO = "auto"
    FIXTURES = "fixtures"
    CSV = "csv"
    JSON_LINES = "jsonl"


_FORMATS = {
    FileFormat.AUTO: events_pb2.IMPORT_FORMAT_UNSPECIFIED,
    FileFormat.FIXTURES: events_pb2.IMPORT_FORMAT_FIXTURES,
    FileFormat.CSV: events_pb2.IMPORT_FORMAT_CSV,
    FileFormat.JSON_LINES: events_pb2.IMPORT_FORMAT_JSON_LINES,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class EventFile:
    """A file with what it does not say itself: how long events can be rated, and the zone of times without offset."""

    content: bytes
    file_format: FileFormat
    rate_until: timedelta
    time_zone: str
    source_name: str


@dataclass(frozen=True, slots=True)
class BadRow:
    place: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportReport:
    """What became of a file. `bad` counts all rows that are no events; `bad_rows` has the first of them."""

    created_event_ids: Sequence[int]
    existing: int
    bad: int
    bad_rows: Sequence[BadRow]


class EventManagement:
    """Calls line_provider with its admin token.

    Every method raises LineProviderUnavailable, LineProviderFailed, and those of the errors above that its arguments
    can cause.
    """

    def __init__(self, channel: grpc.aio.Channel, admin_token: str) -> None:
        self._line_provider = EventServiceStub(channel)
        self._metadata = (("authorization", f"Bearer {admin_token}"),)

    async def create(self, draft: EventDraft) -> Event:
        request = events_pb2.CreateEventRequest()
        _set_fields(request, draft)
        return event_of((await self._call(self._line_provider.CreateEvent, request)).event)

    async def update(self, event_id: int, edit: EventEdit) -> Event:
        request = events_pb2.UpdateEventRequest(event_id=event_id)
        request.update_mask.paths.extend(_set_fields(request, edit))
        return event_of((await self._call(self._line_provider.UpdateEvent, request)).event)

    async def cancel(self, event_id: int) -> Event:
        """Cancels the event; one that is cancelled already stays as it is."""
        request = events_pb2.CancelEventRequest(event_id=event_id)
        return event_of((await self._call(self._line_provider.CancelEvent, request)).event)

    async def import_file(self, file: EventFile) -> ImportReport:
        """Creates the events of the file that do not exist yet."""
        rate_until = Duration()
        rate_until.FromTimedelta(file.rate_until)
        request = events_pb2.ImportEventsRequest(
            content=file.content,
            format=_FORMATS[file.file_format],
            rate_until=rate_until,
            time_zone=file.time_zone,
            source_name=file.source_name,
        )
        answer = await self._call(self._line_provider.ImportEvents, request, timeout=IMPORT_TIMEOUT_SECONDS)
        return ImportReport(
            created_event_ids=list(answer.created_event_ids),
            existing=answer.existing_count,
            bad=answer.bad_row_count,
            bad_rows=[BadRow(bad.place, bad.reason) for bad in answer.bad_rows],
        )

    async def _call(self, method: Any, request: Any, *, timeout: float = TIMEOUT_SECONDS) -> Any:  # noqa: ASYNC109 - gRPC's
        metadata = [*self._metadata]
        if request_id := structlog.contextvars.get_contextvars().get("request_id"):
            metadata.append(("x-request-id", request_id))
        if parent := traceparent():
            metadata.append(("traceparent", parent))
        try:
            return await method(request, timeout=timeout, metadata=metadata)
        except grpc.aio.AioRpcError as error:
            raise _exception_of(error) from error


def _set_fields(request: Any, values: EventDraft | EventEdit) -> list[str]:
    """Copies the fields that are given to the request's fields of the same name; returns their names."""
    given = {field.name: value for field in fields(values) if (value := getattr(values, field.name)) is not None}
    for name, value in given.items():
        if isinstance(value, datetime):
            getattr(request, name).FromDatetime(value)
        else:
            setattr(request, name, value)
    return list(given)


def _exception_of(error: grpc.aio.AioRpcError) -> Exception:
    details = error.details() or ""
    match error.code():
        case grpc.StatusCode.INVALID_ARGUMENT:
            field, _, expectation = details.partition(": ")
            return InvalidField(field, expectation)
        case grpc.StatusCode.NOT_FOUND:
            return NoSuchEvent(details)
        case grpc.StatusCode.ALREADY_EXISTS:
            return ExternalIdTaken(details)
        case grpc.StatusCode.FAILED_PRECONDITION:
            return EventUnchangeable(details)
        case grpc.StatusCode.UNAVAILABLE | grpc.StatusCode.DEADLINE_EXCEEDED:
            return LineProviderUnavailable(f"{error.code().name}: {details}")
        case code:
            log.error("line_provider_failed", code=code.name, details=details)
            return LineProviderFailed(f"{code.name}: {details}")
