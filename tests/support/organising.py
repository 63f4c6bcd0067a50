"""Creates and changes events as organisers do, for tests of the whole system."""

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.timestamp_pb2 import Timestamp

from scoreline.line_provider.v1 import events_pb2

if TYPE_CHECKING:
    from scoreline.line_provider.v1.events_pb2_grpc import EventServiceAsyncStub

Metadata = tuple[tuple[str, str], ...]


async def new_event(organiser: "EventServiceAsyncStub", admin: Metadata) -> int:
    """Creates an event that is open for an hour, and returns its id."""
    now = datetime.now(UTC)
    request = events_pb2.CreateEventRequest(title="Opening night")
    request.starts_at.FromDatetime(now - timedelta(hours=2))
    request.deadline.FromDatetime(now + timedelta(hours=1))
    return (await organiser.CreateEvent(request, metadata=admin)).event.event_id


async def move_deadline(
    organiser: "EventServiceAsyncStub", admin: Metadata, event_id: int, deadline: datetime | None = None
) -> None:
    """Sets the event's deadline, by default to now."""
    moved = Timestamp()
    moved.FromDatetime(deadline or datetime.now(UTC))
    mask = FieldMask(paths=["deadline"])
    request = events_pb2.UpdateEventRequest(event_id=event_id, deadline=moved, update_mask=mask)
    await organiser.UpdateEvent(request, metadata=admin)
