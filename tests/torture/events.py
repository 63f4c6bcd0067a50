"""The events of the run, and what organisers did to them: every deadline that each has had, and from when to when.

A change takes effect at some moment between its first attempt and its answer, which comes after the commit. An observer
knows it only within these bounds.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, TypeVar

import grpc
from google.protobuf.field_mask_pb2 import FieldMask

from scoreline.line_provider.v1 import events_pb2
from scoreline.line_provider.v1.events_pb2_grpc import EventServiceStub

if TYPE_CHECKING:
    from scoreline.line_provider.v1.events_pb2_grpc import EventServiceAsyncStub

    _ChangeResponse = events_pb2.UpdateEventResponse | events_pb2.CancelEventResponse

T = TypeVar("T")
_Call = Callable[["EventServiceAsyncStub"], Awaitable[T]]

FOREVER = datetime.max.replace(tzinfo=UTC)

_RPC_SECONDS = 5
_RETRY_SECONDS = 0.1


def now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """A new deadline, or a cancellation if it is None; `told` is the event as the answer described it."""

    deadline: datetime | None
    sent_at: datetime
    answered_at: datetime
    told: events_pb2.Event


@dataclass(slots=True)
class Event:
    """One event as its organiser knows it."""

    event_id: int
    changes: list[Change]
    # The change that is being made: it may be in force already.
    under_way: tuple[datetime | None, datetime] | None = None

    @property
    def deadline(self) -> datetime:
        """The deadline in force now."""
        return next(change.deadline for change in reversed(self.changes) if change.deadline is not None)

    @property
    def cancellation(self) -> Change | None:
        return next((change for change in self.changes if change.deadline is None), None)

    @property
    def is_open(self) -> bool:
        return self.cancellation is None and now() < self.deadline

    def deadlines(self, since: datetime, until: datetime) -> list[datetime]:
        """All deadlines that may have been in force at some moment of that time."""
        set_ = [change for change in self._all_changes() if change.deadline is not None]
        # Each was in force until the next one was answered, at the latest.
        replaced_at = [change.answered_at for change in set_[1:]] + [FOREVER]
        return [
            change.deadline
            for change, end in zip(set_, replaced_at, strict=True)
            if change.deadline is not None and change.sent_at <= until and end >= since
        ]

    def may_be_cancelled(self, until: datetime) -> bool:
        return any(change.deadline is None and change.sent_at <= until for change in self._all_changes())

    def _all_changes(self) -> list[Change]:
        if self.under_way is None:
            return self.changes
        deadline, sent_at = self.under_way
        under_way = Change(deadline=deadline, sent_at=sent_at, answered_at=FOREVER, told=events_pb2.Event())
        return [*self.changes, under_way]


@dataclass(slots=True, kw_only=True)
class Organiser:
    """Creates and changes events directly at line_provider, and retries each call until it is answered."""

    channel: grpc.aio.Channel
    admin_token: str
    events: dict[int, Event] = field(default_factory=dict)
    repeated: int = 0

    async def create(self, *, open_for: timedelta) -> Event:
        sent_at = now()
        deadline = sent_at + open_for
        request = events_pb2.CreateEventRequest(title="A night of torture", external_id=f"{sent_at.timestamp()}")
        request.starts_at.FromDatetime(sent_at - timedelta(days=1))
        request.deadline.FromDatetime(deadline)
        created = events_pb2.Event()
        while not created.event_id:
            try:
                response = await self._call(
                    lambda stub: stub.CreateEvent(request, timeout=_RPC_SECONDS, metadata=self._admin)
                )
                created = response.event
            except grpc.aio.AioRpcError as error:
                # An earlier attempt has created the event, and its answer was lost.
                if error.code() is not grpc.StatusCode.ALREADY_EXISTS:
                    raise
                created = await self._find(request.external_id)
        made = Change(deadline=deadline, sent_at=sent_at, answered_at=now(), told=created)
        event = self.events[created.event_id] = Event(created.event_id, [made])
        return event

    async def move_deadline(self, event: Event, deadline: datetime) -> None:
        """Has no effect on an event that has become final before."""
        request = events_pb2.UpdateEventRequest(event_id=event.event_id, update_mask=FieldMask(paths=["deadline"]))
        request.deadline.FromDatetime(deadline)
        await self._change(
            event, deadline, lambda stub: stub.UpdateEvent(request, timeout=_RPC_SECONDS, metadata=self._admin)
        )

    async def cancel(self, event: Event) -> None:
        """Has no effect on an event that has become final before."""
        request = events_pb2.CancelEventRequest(event_id=event.event_id)
        await self._change(
            event, None, lambda stub: stub.CancelEvent(request, timeout=_RPC_SECONDS, metadata=self._admin)
        )

    async def _change(self, event: Event, deadline: datetime | None, call: "_Call[_ChangeResponse]") -> None:
        sent_at = now()
        event.under_way = deadline, sent_at
        try:
            told = (await self._call(call)).event
        except grpc.aio.AioRpcError as error:
            if error.code() is not grpc.StatusCode.FAILED_PRECONDITION:
                raise
            # An earlier attempt whose answer was lost may have made the change.
            request = events_pb2.GetEventRequest(event_id=event.event_id)
            told = (await self._call(lambda stub: stub.GetEvent(request, timeout=_RPC_SECONDS))).event
        if told.HasField("cancelled_at") if deadline is None else told.deadline.ToDatetime(tzinfo=UTC) == deadline:
            event.changes.append(Change(deadline=deadline, sent_at=sent_at, answered_at=now(), told=told))
        event.under_way = None

    async def _find(self, external_id: str) -> events_pb2.Event:
        request = events_pb2.GetEventsRequest(page_size=1_000, order=events_pb2.EVENT_ORDER_NEWEST)
        page = await self._call(lambda stub: stub.GetEvents(request, timeout=_RPC_SECONDS))
        return next((event for event in page.events if event.external_id == external_id), events_pb2.Event())

    async def _call(self, call: "_Call[T]") -> T:
        """Retries the call, which is idempotent, until it is answered. Raises an error that is an answer."""
        stub: EventServiceAsyncStub = EventServiceStub(self.channel)
        while True:
            try:
                return await call(stub)
            except grpc.aio.AioRpcError as error:
                if error.code() not in {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED}:
                    raise
            self.repeated += 1
            await asyncio.sleep(_RETRY_SECONDS)

    @property
    def _admin(self) -> tuple[tuple[str, str], ...]:
        return (("authorization", f"Bearer {self.admin_token}"),)
