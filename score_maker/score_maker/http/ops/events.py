"""/ops/events and /ops/imports: creating, changing, cancelling and importing line_provider's events."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response, status
from pydantic import AfterValidator, AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field

from score_maker.events.event import Event
from score_maker.events.management import (
    EventDraft,
    EventEdit,
    EventFile,
    EventManagement,
    EventUnchangeable,
    ExternalIdTaken,
    FileFormat,
    ImportReport,
    InvalidField,
    LineProviderFailed,
    LineProviderUnavailable,
    NoSuchEvent,
)
from score_maker.http.dependencies import Services
from score_maker.http.events.documents import EventResource
from score_maker.http.events.routes import EventId, event_not_found
from score_maker.http.ops.auth import OPERATOR
from score_maker.http.problems.openapi import responses
from score_maker.http.problems.types import (
    CONTENT_TOO_LARGE,
    EVENT_NOT_FOUND,
    EVENT_UNCHANGEABLE,
    EXTERNAL_ID_TAKEN,
    INVALID_REQUEST,
    LINE_PROVIDER_FAILED,
    MALFORMED_JSON,
    NOT_JSON,
    OPERATOR_TOKEN_REQUIRED,
    TOO_MANY_REQUESTS,
    UNAVAILABLE,
    Problem,
    invalid_part,
)

LARGEST_FILE_BYTES = 1024 * 1024

# A description may be long, and a file longer.
LARGEST_BODIES = {"/ops/events": 128 * 1024, "/ops/imports": LARGEST_FILE_BYTES}

router = APIRouter(tags=["operations"], dependencies=[OPERATOR])

_ALWAYS = (OPERATOR_TOKEN_REQUIRED, TOO_MANY_REQUESTS, INVALID_REQUEST, LINE_PROVIDER_FAILED, UNAVAILABLE)
_WITH_JSON = (MALFORMED_JSON, NOT_JSON, CONTENT_TOO_LARGE)

Title = Annotated[str, Field(min_length=1, max_length=200, pattern=r"\S", examples=["Opening night"])]
Description = Annotated[str, Field(max_length=10_000, examples=["In the great hall"])]


def _written(value: object) -> object:
    """Accepts only the form that the documentation names, of the many that pydantic would."""
    if not isinstance(value, str):
        raise ValueError("Input should be a time like 2027-01-01T19:00:00Z")  # noqa: TRY004 - as pydantic wants it
    return value


def _in_utc(value: datetime) -> datetime:
    try:
        return value.astimezone(UTC)
    except OverflowError:
        raise ValueError("Input should be a time from the year 1 to the year 9999") from None


Time = Annotated[AwareDatetime, BeforeValidator(_written), AfterValidator(_in_utc)]


class NewEvent(BaseModel):
    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "example": {
                "title": "Opening night",
                "description": "In the great hall",
                "starts_at": "2027-01-01T19:00:00Z",
                "deadline": "2027-01-03T19:00:00Z",
            }
        },
    )

    title: Title
    description: Description = ""
    starts_at: Time
    deadline: Time = Field(description="The last moment at which a rating is accepted; not before `starts_at`")
    external_id: Annotated[str, Field(min_length=1, max_length=200)] | None = Field(
        default=None,
        description="Your own id of it, which no other event has. With one, a request that is repeated after a broken "
        "connection makes no second event",
    )


def _described_as_changes(schema: dict[str, Any]) -> None:
    schema |= {"minProperties": 1, "example": {"deadline": "2027-01-04T19:00:00Z"}}
    for described in schema["properties"].values():
        del described["default"]


# Marks a field that is not given; it is not a value that may be sent.
_NOT_GIVEN: Any = None


class EventChanges(BaseModel):
    """The fields to change, at least one. Fields that are not given stay as they are."""

    model_config = ConfigDict(extra="forbid", json_schema_extra=_described_as_changes)

    title: Title = _NOT_GIVEN
    description: Description = _NOT_GIVEN
    starts_at: Time = _NOT_GIVEN
    deadline: Time = _NOT_GIVEN


class BadRowResource(BaseModel):
    """A row that is not a valid event."""

    place: str = Field(description="Its line, or its match", examples=["line 5"])
    reason: str = Field(examples=["starts_at: is missing"])


class ImportResource(BaseModel):
    created: int
    created_event_ids: list[int] = Field(description="In the order of the file")
    existing: int = Field(description="Events that exist already, or occur earlier in the file: they stay as they are")
    bad: int = Field(description="Rows that are not valid events")
    bad_rows: list[BadRowResource] = Field(description="The first 1,000 of them")

    @classmethod
    def of(cls, report: ImportReport) -> "ImportResource":
        return cls(
            created=len(report.created_event_ids),
            created_event_ids=list(report.created_event_ids),
            existing=report.existing,
            bad=report.bad,
            bad_rows=[BadRowResource(place=bad.place, reason=bad.reason) for bad in report.bad_rows],
        )


@router.post(
    "/ops/events",
    status_code=status.HTTP_201_CREATED,
    responses=responses(*_ALWAYS, *_WITH_JSON, EXTERNAL_ID_TAKEN),
)
async def create_event(services: Services, response: Response, event: NewEvent) -> EventResource:
    """Add an event. `GET /events` lists it a moment later."""
    draft = EventDraft(**event.model_dump())
    with _problems():
        created = await _management(services).create(draft)
    response.headers["Location"] = f"/events/{created.event_id}"
    return _resource(created)


@router.patch(
    "/ops/events/{event_id}",
    responses=responses(*_ALWAYS, *_WITH_JSON, EVENT_NOT_FOUND, EVENT_UNCHANGEABLE),
)
async def update_event(services: Services, event_id: EventId, changes: EventChanges) -> EventResource:
    """Change an event, unless it is cancelled or its result is final.

    A new deadline applies from the moment of the change: ratings that were accepted under the old one are compared with
    the one that stands when they reach line_provider.
    """
    edit = EventEdit(**changes.model_dump(exclude_unset=True))
    with _problems(event_id):
        return _resource(await _management(services).update(event_id, edit))


@router.post("/ops/events/{event_id}/cancel", responses=responses(*_ALWAYS, EVENT_NOT_FOUND, EVENT_UNCHANGEABLE))
async def cancel_event(services: Services, event_id: EventId) -> EventResource:
    """Cancel an event for good. Ratings that count already stand; repeating it changes nothing."""
    with _problems(event_id):
        return _resource(await _management(services).cancel(event_id))


@router.post(
    "/ops/imports",
    responses=responses(*_ALWAYS, CONTENT_TOO_LARGE),
    openapi_extra={
        "requestBody": {
            "required": True,
            "description": "The file: UTF-8 text of at most 1 MiB, whatever its content type",
            "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
        }
    },
)
async def import_events(
    services: Services,
    request: Request,
    format: Annotated[FileFormat, Query(description="`auto` detects it by the content")] = FileFormat.AUTO,  # noqa: A002
    rate_for_hours: Annotated[
        float,
        Query(ge=0, le=87_600, description="How long after its start an event can be rated, if the file does not say"),
    ] = 48,
    timezone: Annotated[
        str, Query(max_length=100, description="The time zone of times without an offset", examples=["Europe/London"])
    ] = "UTC",
    source_name: Annotated[
        str, Query(max_length=200, description="Keeps the ids of these events apart from those of other files")
    ] = "",
) -> ImportResource:
    """Add the events of a file: CSV or JSON lines with `title` and `starts_at`, optionally `description`, `deadline`
    and `external_id`; or the fixtures that openfootball publishes.

    Existing events stay as they are, so importing a file again adds what is new in it. An invalid row does not affect
    the others, and is reported in the response.
    """
    content = await request.body()
    if not content:
        raise invalid_part("body", "Input should be a file")
    file = EventFile(
        content=content,
        file_format=format,
        rate_until=timedelta(hours=rate_for_hours),
        time_zone=timezone,
        source_name=source_name,
    )
    with _problems():
        return ImportResource.of(await _management(services).import_file(file))


def _management(services: Services) -> EventManagement:
    if services.event_management is None:
        raise AssertionError("these operations are routed only with line_provider's token")
    return services.event_management


def _resource(event: Event) -> EventResource:
    return EventResource.of(event, event.phase(datetime.now(UTC)))


# The parts of a request whose names at line_provider differ from ours.
_PARTS: dict[str, str] = {
    "content": "body",
    "update_mask": "body",
    "event_id": "path.event_id",
    "format": "query.format",
    "rate_until": "query.rate_for_hours",
    "time_zone": "query.timezone",
    "source_name": "query.source_name",
}


@contextmanager
def _problems(event_id: int | None = None) -> Iterator[None]:
    """Turns the errors of EventManagement into Problems."""
    try:
        yield
    except InvalidField as error:
        raise invalid_part(_PARTS.get(error.field, f"body.{error.field}"), error.expectation) from None
    except NoSuchEvent:
        raise event_not_found(event_id or 0) from None
    except ExternalIdTaken as error:
        raise Problem(EXTERNAL_ID_TAKEN, _sentence(error)) from None
    except EventUnchangeable as error:
        raise Problem(EVENT_UNCHANGEABLE, _sentence(error)) from None
    except LineProviderUnavailable:
        detail = "line_provider, which owns the events, does not answer. Whether it carried out the request is unknown."
        raise Problem(UNAVAILABLE, detail) from None
    except LineProviderFailed as error:
        raise Problem(LINE_PROVIDER_FAILED, f"line_provider answered: {error}.") from None


def _sentence(error: Exception) -> str:
    text = str(error)
    return f"{text[:1].upper()}{text[1:]}."
