"""line_provider's events as their organisers change them. What is changed comes back to the catalog by the feed."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

import grpc
import structlog
from google.protobuf.duration_pb2 import Duration

from score_maker.events.catalog import Event
from score_maker.events.feed import event_of
from scoreline.line_provider.v1 import events_pb2
from scoreline.line_provider.v1.events_pb2_grpc import EventServiceStub
from scoreline_common.telemetry.tracing import traceparent

log = structlog.get_logger(__name__)

TIMEOUT_SECONDS = 5
IMPORT_TIMEOUT_SECONDS = 30


class InvalidField(Exception):
    """line_provider names a field, and what it must be."""

    def __init__(self, field: str, expectation: str) -> None:
        super().__init__(f"{field}: {expectation}")
        self.field = field
        self.expectation = expectation


class NoSuchEvent(Exception):
    """line_provider has no event of that id."""


class ExternalIdTaken(Exception):
    """There is an event with that external_id already."""


class EventUnchangeable(Exception):
    """The event is cancelled, or its result is final."""


class LineProviderAway(Exception):
    """line_provider did not answer; whether it did what it was asked for is not known."""


class LineProviderFails(Exception):
    """line_provider's answer is none that it may give: its fault, or that of its address or token in the settings."""


@dataclass(frozen=True, slots=True)
class EventDraft:
    """A new event; with an external id there is never a second one of it."""

    title: str
    description: str
    starts_at: datetime
    deadline: datetime
    external_id: str | None


@dataclass(frozen=True, slots=True)
class EventEdit:
    """What is to be otherwise; None leaves a field as it is."""

    title: str | None = None
    description: str | None = None
    starts_at: datetime | None = None
    deadline: datetime | None = None


class FileFormat(StrEnum):
    """How a file lists events."""

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


@dataclass(frozen=True, slots=True)
class EventFile:
    """A file, and what it does not say: until when its events may be rated, and where its local times are local."""

    content: bytes
    file_format: FileFormat
    rate_until: timedelta
    time_zone: str
    source_name: str


@dataclass(frozen=True, slots=True)
class BadRow:
    place: str
    reason: str


@dataclass(frozen=True, slots=True)
class ImportReport:
    """What became of a file; of the bad rows only the first are named."""

    created_event_ids: Sequence[int]
    existing: int
    bad: int
    bad_rows: Sequence[BadRow]


class EventManagement:
    """Asks line_provider with its admin token. Every method raises LineProviderAway and LineProviderFails, and those
    of the errors above that its arguments can cause."""

    def __init__(self, channel: grpc.aio.Channel, admin_token: str) -> None:
        self._line_provider = EventServiceStub(channel)
        self._metadata = (("authorization", f"Bearer {admin_token}"),)

    async def create(self, draft: EventDraft) -> Event:
        request = events_pb2.CreateEventRequest(
            title=draft.title, description=draft.description, external_id=draft.external_id or ""
        )
        request.starts_at.FromDatetime(draft.starts_at)
        request.deadline.FromDatetime(draft.deadline)
        return event_of((await self._ask(self._line_provider.CreateEvent, request)).event)

    async def update(self, event_id: int, edit: EventEdit) -> Event:
        request = events_pb2.UpdateEventRequest(event_id=event_id)
        for name in ("title", "description"):
            if (text := getattr(edit, name)) is not None:
                setattr(request, name, text)
                request.update_mask.paths.append(name)
        for name in ("starts_at", "deadline"):
            if (time := getattr(edit, name)) is not None:
                getattr(request, name).FromDatetime(time)
                request.update_mask.paths.append(name)
        return event_of((await self._ask(self._line_provider.UpdateEvent, request)).event)

    async def cancel(self, event_id: int) -> Event:
        """One that is cancelled already stays as it is."""
        request = events_pb2.CancelEventRequest(event_id=event_id)
        return event_of((await self._ask(self._line_provider.CancelEvent, request)).event)

    async def import_file(self, file: EventFile) -> ImportReport:
        """Creates what the file lists and is not there yet."""
        rate_until = Duration()
        rate_until.FromTimedelta(file.rate_until)
        request = events_pb2.ImportEventsRequest(
            content=file.content,
            format=_FORMATS[file.file_format],
            rate_until=rate_until,
            time_zone=file.time_zone,
            source_name=file.source_name,
        )
        answer = await self._ask(self._line_provider.ImportEvents, request, timeout=IMPORT_TIMEOUT_SECONDS)
        return ImportReport(
            created_event_ids=list(answer.created_event_ids),
            existing=answer.existing_count,
            bad=answer.bad_row_count,
            bad_rows=[BadRow(bad.place, bad.reason) for bad in answer.bad_rows],
        )

    async def _ask(self, method: Any, request: Any, *, timeout: float = TIMEOUT_SECONDS) -> Any:  # noqa: ASYNC109 - gRPC's
        metadata = [*self._metadata]
        if request_id := structlog.contextvars.get_contextvars().get("request_id"):
            metadata.append(("x-request-id", request_id))
        if followed := traceparent():
            metadata.append(("traceparent", followed))
        try:
            return await method(request, timeout=timeout, metadata=metadata)
        except grpc.aio.AioRpcError as error:
            raise _told(error) from error


def _told(error: grpc.aio.AioRpcError) -> Exception:
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
            return LineProviderAway(f"{error.code().name}: {details}")
        case code:
            log.error("line_provider_fails", code=code.name, details=details)
            return LineProviderFails(f"{code.name}: {details}")
