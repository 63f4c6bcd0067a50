"""Every method over a real channel: its response, and each error by the code that the contract promises."""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import uuid4

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.message_factory import GetMessageClass
from google.protobuf.timestamp_pb2 import Timestamp
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc  # type: ignore[import-untyped]
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from devstack.postgres import Postgres
from line_provider.events.changes import cancel_event, create_missing_events
from line_provider.events.domain import Event, EventDraft
from scoreline.line_provider.v1 import events_pb2, scores_pb2
from tests.support.running_server import ADMIN, ADMIN_TOKEN, NEXT_ADMIN, WORKER, WORKER_TOKEN, RunningServer, serving

AddEvent = Callable[..., Awaitable[Event]]

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING
SERVICES = ("scoreline.line_provider.v1.EventService", "scoreline.line_provider.v1.ScoreService")
UNREACHABLE = "postgresql+asyncpg://anybody:secret@/anywhere?host=/nonexistent"

NOW = datetime.now(UTC)
BEYOND_THE_CALENDAR = Timestamp(seconds=2**40)


def timestamp(time: datetime) -> Timestamp:
    message = Timestamp()
    message.FromDatetime(time)
    return message


def new_event(**differently: Any) -> events_pb2.CreateEventRequest:
    fields: dict[str, Any] = {
        "title": "Spain – Argentina",
        "starts_at": timestamp(NOW),
        "deadline": timestamp(NOW + timedelta(hours=48)),
    }
    return events_pb2.CreateEventRequest(**{**fields, **differently})


def change(event_id: int, **differently: Any) -> scores_pb2.ScoreChange:
    fields: dict[str, Any] = {
        "event_id": event_id,
        "rater_id": uuid4().bytes,
        "value": 5,
        "version": 1,
        "accepted_at": timestamp(datetime.now(UTC)),
    }
    return scores_pb2.ScoreChange(**{**fields, **differently})


async def failure(call: Awaitable[Any]) -> tuple[grpc.StatusCode, str]:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return caught.value.code(), caught.value.details() or ""


async def test_an_event_is_created_read_changed_and_cancelled(server: RunningServer) -> None:
    created = (await server.events.CreateEvent(new_event(external_id="wc/104"), metadata=ADMIN)).event
    assert (created.title, created.external_id) == ("Spain – Argentina", "wc/104")
    assert (created.status, list(created.totals.histogram)) == (events_pb2.EVENT_STATUS_PROCESSING, [0] * 5)
    assert created.starts_at.ToDatetime(tzinfo=UTC) == NOW
    assert not created.HasField("cancelled_at")

    request = events_pb2.UpdateEventRequest(
        event_id=created.event_id, update_mask=FieldMask(paths=["description"]), title="ignored", description="Final"
    )
    updated = (await server.events.UpdateEvent(request, metadata=ADMIN)).event
    assert (updated.title, updated.description) == ("Spain – Argentina", "Final")
    assert updated.revision > created.revision

    cancel = events_pb2.CancelEventRequest(event_id=created.event_id)
    cancelled = (await server.events.CancelEvent(cancel, metadata=ADMIN)).event
    assert cancelled.HasField("cancelled_at")
    assert (await server.events.CancelEvent(cancel, metadata=ADMIN)).event == cancelled
    read = await server.events.GetEvent(events_pb2.GetEventRequest(event_id=created.event_id))
    assert read.event == cancelled


async def test_events_are_listed_page_by_page(server: RunningServer, add_event: AddEvent) -> None:
    for number in range(7):
        await add_event(f"match {number}", deadline_in=timedelta(hours=number))
    listed: list[str] = []
    request = events_pb2.GetEventsRequest(page_size=3, query="MATCH", order=events_pb2.EVENT_ORDER_STARTS_AT)
    while True:
        page = await server.events.GetEvents(request)
        listed += [event.title for event in page.events]
        if not page.next_page_token:
            break
        request.page_token = page.next_page_token
    assert listed == [f"match {number}" for number in range(7)]


async def test_a_full_last_page_has_no_next_page_token(server: RunningServer, add_event: AddEvent) -> None:
    await add_event()
    await add_event()
    page = await server.events.GetEvents(events_pb2.GetEventsRequest(page_size=2))
    assert (len(page.events), page.next_page_token) == (2, "")


async def test_a_page_of_long_descriptions_ends_before_it_is_too_large_for_a_client(
    server: RunningServer, engine: AsyncEngine
) -> None:
    long = "\N{SOCCER BALL}" * 10_000
    drafts = [EventDraft(title=str(n), description=long, starts_at=NOW, deadline=NOW) for n in range(200)]
    async with engine.begin() as connection:
        await create_missing_events(connection, drafts)
    request, listed = events_pb2.GetEventsRequest(page_size=1000), []
    while True:
        page = await server.events.GetEvents(request)
        listed += [event.title for event in page.events]
        if not page.next_page_token:
            break
        request.page_token = page.next_page_token
    assert listed == [str(number) for number in range(200)]


async def test_a_page_token_belongs_to_its_filter_and_order(server: RunningServer, add_event: AddEvent) -> None:
    await add_event()
    await add_event()
    token = (await server.events.GetEvents(events_pb2.GetEventsRequest(page_size=1))).next_page_token
    for foreign in (
        events_pb2.GetEventsRequest(page_token=token, query="x"),
        events_pb2.GetEventsRequest(page_token=token, order=events_pb2.EVENT_ORDER_NEWEST),
        events_pb2.GetEventsRequest(page_token=token, phase=events_pb2.EVENT_PHASE_OPEN),
        events_pb2.GetEventsRequest(page_token=token, status=events_pb2.EVENT_STATUS_LOW_SCORE),
    ):
        code, details = await failure(server.events.GetEvents(foreign))
        assert code is grpc.StatusCode.INVALID_ARGUMENT
        assert details.startswith("page_token: belongs to another filter or order")


async def test_ratings_are_applied_and_each_gets_its_verdict(server: RunningServer, add_event: AddEvent) -> None:
    event_id = (await add_event()).event_id
    closed = (await add_event(deadline_in=-timedelta(hours=1))).event_id
    first = change(event_id)
    request = scores_pb2.ApplyScoresRequest(
        changes=[
            first,
            first,
            change(event_id, value=0),
            change(event_id, value=6),
            change(event_id, version=0),
            change(event_id, rater_id=b"short"),
            change(event_id, accepted_at=None),
            change(event_id, accepted_at=BEYOND_THE_CALENDAR),
            change(-1),
            change(999),
            change(closed),
            change(event_id, value=None),
        ]
    )
    verdicts = (await server.scores.ApplyScores(request, metadata=WORKER)).verdicts
    invalid = (scores_pb2.VERDICT_REJECTED, scores_pb2.REJECTION_REASON_INVALID)
    assert [(verdict.verdict, verdict.reason) for verdict in verdicts] == [
        (scores_pb2.VERDICT_APPLIED, 0),
        (scores_pb2.VERDICT_DUPLICATE, 0),
        *[invalid] * 7,
        (scores_pb2.VERDICT_REJECTED, scores_pb2.REJECTION_REASON_EVENT_NOT_FOUND),
        (scores_pb2.VERDICT_REJECTED, scores_pb2.REJECTION_REASON_DEADLINE_PASSED),
        (scores_pb2.VERDICT_APPLIED, 0),
    ]
    totals = await server.scores.GetTotals(
        scores_pb2.GetTotalsRequest(event_ids=[event_id, closed, 999]), metadata=WORKER
    )
    assert [(each.event_id, each.totals.count, each.totals.sum) for each in totals.events] == [
        (event_id, 1, 5),
        (closed, 0, 0),
    ]


async def test_the_applied_scores_of_an_event_are_listed_by_rater(server: RunningServer, add_event: AddEvent) -> None:
    event_id = (await add_event()).event_id
    raters = sorted(uuid4().bytes for _ in range(5))
    changes = [change(event_id, rater_id=rater, value=1 + n, version=1 + n) for n, rater in enumerate(raters)]
    changes.append(change(event_id, rater_id=raters[0], value=None, version=2))
    await server.scores.ApplyScores(scores_pb2.ApplyScoresRequest(changes=changes), metadata=WORKER)
    listed: list[scores_pb2.AppliedScore] = []
    request = scores_pb2.GetAppliedScoresRequest(event_id=event_id, page_size=2)
    while True:
        page = (await server.scores.GetAppliedScores(request, metadata=WORKER)).scores
        listed += page
        if len(page) < 2:
            break
        request.after_rater_id = page[-1].rater_id
    assert [(each.rater_id, each.version) for each in listed] == [
        (rater, 2 if n == 0 else 1 + n) for n, rater in enumerate(raters)
    ]
    assert [each.value if each.HasField("value") else None for each in listed] == [None, 2, 3, 4, 5]
    assert all(each.HasField("applied_at") for each in listed)


async def test_a_result_becomes_final_if_both_sides_agree_on_it(server: RunningServer, add_event: AddEvent) -> None:
    closed = await add_event(deadline_in=-timedelta(hours=1))
    on_time = change(closed.event_id, accepted_at=timestamp(closed.deadline))
    await server.scores.ApplyScores(scores_pb2.ApplyScoresRequest(changes=[on_time]), metadata=WORKER)

    differing = scores_pb2.FinalizeEventRequest(event_id=closed.event_id, count=1, sum=4)
    code, details = await failure(server.scores.FinalizeEvent(differing, metadata=WORKER))
    assert code is grpc.StatusCode.FAILED_PRECONDITION
    assert "line_provider has count 1, sum 5, not count 1, sum 4" in details

    agreed = scores_pb2.FinalizeEventRequest(event_id=closed.event_id, count=1, sum=5)
    final = (await server.scores.FinalizeEvent(agreed, metadata=WORKER)).event
    assert final.HasField("finalized_at")
    assert (await server.scores.FinalizeEvent(agreed, metadata=WORKER)).event == final
    page = await server.events.GetEvents(events_pb2.GetEventsRequest(phase=events_pb2.EVENT_PHASE_FINAL))
    assert [event.event_id for event in page.events] == [closed.event_id]
    cancel = server.events.CancelEvent(events_pb2.CancelEventRequest(event_id=closed.event_id), metadata=ADMIN)
    assert (await failure(cancel))[0] is grpc.StatusCode.FAILED_PRECONDITION


async def test_batches_may_be_empty_wholly_invalid_and_as_large_as_promised(
    server: RunningServer, add_event: AddEvent
) -> None:
    event_id = (await add_event()).event_id
    for batch in ([], [change(0)], [change(event_id) for _ in range(10_000)]):
        request = scores_pb2.ApplyScoresRequest(changes=batch)
        assert len((await server.scores.ApplyScores(request, metadata=WORKER)).verdicts) == len(batch)
    read = await server.events.GetEvent(events_pb2.GetEventRequest(event_id=event_id))
    assert read.event.totals.count == 10_000


async def test_the_single_form_returns_the_event_as_it_is_afterwards(
    server: RunningServer, add_event: AddEvent
) -> None:
    request = scores_pb2.UpdateEventStatusByScoreRequest(change=change((await add_event()).event_id, value=2))
    answer = await server.scores.UpdateEventStatusByScore(request, metadata=WORKER)
    assert (answer.verdict, answer.event.status, answer.event.totals.sum) == (
        scores_pb2.VERDICT_APPLIED,
        events_pb2.EVENT_STATUS_LOW_SCORE,
        2,
    )
    again = await server.scores.UpdateEventStatusByScore(request, metadata=WORKER)
    assert (again.verdict, again.event) == (scores_pb2.VERDICT_DUPLICATE, answer.event)


async def test_the_single_form_reports_a_rejection_by_its_code(
    server: RunningServer, add_event: AddEvent, engine: AsyncEngine
) -> None:
    async def refusal(event_id: int) -> tuple[grpc.StatusCode, str]:
        request = scores_pb2.UpdateEventStatusByScoreRequest(change=change(event_id))
        return await failure(server.scores.UpdateEventStatusByScore(request, metadata=WORKER))

    cancelled, final = (await add_event()).event_id, (await add_event()).event_id
    closed = (await add_event(deadline_in=-timedelta(hours=1))).event_id
    async with engine.begin() as connection:
        await cancel_event(connection, cancelled)
        await connection.execute(text(f"UPDATE events SET finalized_at = now() WHERE event_id = {final}"))
    refused = grpc.StatusCode.FAILED_PRECONDITION
    assert await refusal(999) == (grpc.StatusCode.NOT_FOUND, "event 999 does not exist")
    assert await refusal(cancelled) == (refused, f"event {cancelled} does not accept the rating: event cancelled")
    assert await refusal(final) == (refused, f"event {final} does not accept the rating: event final")
    assert await refusal(closed) == (refused, f"event {closed} does not accept the rating: deadline passed")


async def test_an_event_that_exists_already_is_not_created_again(server: RunningServer) -> None:
    await server.events.CreateEvent(new_event(external_id="wc/1"), metadata=ADMIN)
    code, details = await failure(server.events.CreateEvent(new_event(external_id="wc/1"), metadata=ADMIN))
    assert (code, details) == (
        grpc.StatusCode.ALREADY_EXISTS,
        "an event with the external_id 'wc/1' already exists",
    )
    assert len((await server.events.GetEvents(events_pb2.GetEventsRequest())).events) == 1


def importing(content: str, **fields: Any) -> events_pb2.ImportEventsRequest:
    return events_pb2.ImportEventsRequest(content=content.encode(), **fields)


async def test_a_file_is_imported_with_a_report_and_again_without_effect(server: RunningServer) -> None:
    file = """\ufefftitle,starts_at,deadline,description
Opening night,2027-01-01T19:00,,In the great hall
,2027-01-02T19:00,,
Second night,2027-01-02T19:00+00:00,2027-01-02T23:00Z,
Third night,tomorrow,,
Second night,2027-01-02T19:00Z,,the same again
"""
    request = importing(
        file, time_zone="Europe/Berlin", rate_until=Duration(seconds=3600), format=events_pb2.IMPORT_FORMAT_CSV
    )
    answer = await server.events.ImportEvents(request, metadata=ADMIN)
    assert (len(answer.created_event_ids), answer.existing_count, answer.bad_row_count) == (2, 1, 2)
    assert [(bad.place, bad.reason.partition(":")[0]) for bad in answer.bad_rows] == [
        ("line 3", "title"),
        ("line 5", "starts_at"),
    ]
    opening, second = [
        (await server.events.GetEvent(events_pb2.GetEventRequest(event_id=event_id))).event
        for event_id in answer.created_event_ids
    ]
    assert (opening.title, opening.description) == ("Opening night", "In the great hall")
    assert opening.starts_at.ToDatetime(tzinfo=UTC) == datetime(2027, 1, 1, 18, tzinfo=UTC)
    assert opening.deadline.ToDatetime(tzinfo=UTC) == datetime(2027, 1, 1, 19, tzinfo=UTC)
    assert second.deadline.ToDatetime(tzinfo=UTC) == datetime(2027, 1, 2, 23, tzinfo=UTC)

    again = await server.events.ImportEvents(request, metadata=ADMIN)
    assert (list(again.created_event_ids), again.existing_count, again.bad_row_count) == ([], 3, 2)
    request.source_name = "another season"
    apart = await server.events.ImportEvents(request, metadata=ADMIN)
    assert len(apart.created_event_ids) == 2


async def test_an_import_detects_the_format_and_events_may_be_rated_for_two_days_by_default(
    server: RunningServer,
) -> None:
    request = importing('{"title": "Opening night", "starts_at": "2027-01-01T19:00"}')
    answer = await server.events.ImportEvents(request, metadata=ADMIN)
    found = events_pb2.GetEventRequest(event_id=answer.created_event_ids[0])
    event = (await server.events.GetEvent(found)).event
    assert event.starts_at.ToDatetime(tzinfo=UTC) == datetime(2027, 1, 1, 19, tzinfo=UTC)
    assert event.deadline.ToDatetime(tzinfo=UTC) == datetime(2027, 1, 3, 19, tzinfo=UTC)


async def test_the_largest_file_is_imported_and_its_report_fits_into_a_response(server: RunningServer) -> None:
    head, good, bad = "title,starts_at\n", "a{:05},2027-01-01T19:00\n", f"b,{'x' * 900}\n"
    rows = [good.format(number) for number in range(2_000)]
    rows += [bad] * ((1024 * 1024 - len(head) - sum(map(len, rows))) // len(bad))
    request = importing(head + "".join(rows))
    answer = await server.events.ImportEvents(request, metadata=ADMIN)
    assert len(answer.created_event_ids) == 2_000
    assert answer.bad_row_count == len(rows) - 2_000 > 1_000
    assert len(answer.bad_rows) == 1_000
    assert all(row.reason.startswith("starts_at: must look like") for row in answer.bad_rows)


async def test_a_cancelled_event_is_not_updated(server: RunningServer, add_event: AddEvent) -> None:
    event_id = (await add_event()).event_id
    await server.events.CancelEvent(events_pb2.CancelEventRequest(event_id=event_id), metadata=ADMIN)
    request = events_pb2.UpdateEventRequest(event_id=event_id, update_mask=FieldMask(paths=["title"]), title="x")
    code, details = await failure(server.events.UpdateEvent(request, metadata=ADMIN))
    assert (code, details) == (
        grpc.StatusCode.FAILED_PRECONDITION,
        f"event {event_id} is cancelled and can no longer be changed",
    )


def update(*paths: str, **fields: Any) -> events_pb2.UpdateEventRequest:
    return events_pb2.UpdateEventRequest(**{"event_id": 1, "update_mask": FieldMask(paths=paths), **fields})


@pytest.mark.parametrize(
    ("method", "request_message", "details"),
    [
        ("GetEvents", events_pb2.GetEventsRequest(page_size=-1), "page_size: must be 1 to 1000"),
        ("GetEvents", events_pb2.GetEventsRequest(page_size=1001), "page_size: must be 1 to 1000"),
        ("GetEvents", events_pb2.GetEventsRequest(page_token="garbage"), "page_token: must be"),
        ("GetEvents", events_pb2.GetEventsRequest(page_token="é"), "page_token: must be"),
        ("GetEvents", events_pb2.GetEventsRequest(page_token="f" * 32), "page_token: must be"),
        ("GetEvents", events_pb2.GetEventsRequest(page_token="A" * 32), "page_token: belongs to another"),
        ("GetEvents", events_pb2.GetEventsRequest(status=99), "status: must be"),  # type: ignore[arg-type]
        ("GetEvents", events_pb2.GetEventsRequest(phase=99), "phase: must be"),  # type: ignore[arg-type]
        ("GetEvents", events_pb2.GetEventsRequest(order=-1), "order: must be"),  # type: ignore[arg-type]
        ("GetEvents", events_pb2.GetEventsRequest(query="x" * 201), "query: must be at most 200 characters"),
        ("GetEvents", events_pb2.GetEventsRequest(query="a\0b"), "query: must not contain NUL"),
        ("GetEvent", events_pb2.GetEventRequest(), "event_id: must be 1 to"),
        ("GetEvent", events_pb2.GetEventRequest(event_id=-1), "event_id: must be 1 to"),
        ("CreateEvent", new_event(title=""), "title: must be 1 to 200 characters"),
        ("CreateEvent", new_event(title="x" * 201), "title: must be at most 200 characters"),
        ("CreateEvent", new_event(title="a\0b"), "title: must not contain NUL"),
        ("CreateEvent", new_event(description="x" * 10_001), "description: must be at most 10,000 characters"),
        ("CreateEvent", new_event(external_id="x" * 201), "external_id: must be at most 200 characters"),
        ("CreateEvent", new_event(external_id="\0"), "external_id: must not contain NUL"),
        ("CreateEvent", new_event(starts_at=None), "starts_at: must be set"),
        ("CreateEvent", new_event(deadline=None), "deadline: must be set"),
        ("CreateEvent", new_event(deadline=timestamp(NOW - timedelta(seconds=1))), "deadline: must not be before"),
        ("CreateEvent", new_event(deadline=BEYOND_THE_CALENDAR), "deadline: must be a time from the year 1"),
        ("CreateEvent", new_event(starts_at=Timestamp(nanos=-1)), "starts_at: must be a time from the year 1"),
        ("UpdateEvent", update(), "update_mask: must name at least one of"),
        ("UpdateEvent", update("title", "status", title="x"), "update_mask: must name at least one of"),
        ("UpdateEvent", update("title", title="x", event_id=0), "event_id: must be 1 to"),
        ("UpdateEvent", update("title"), "title: must be 1 to 200 characters"),
        ("UpdateEvent", update("starts_at"), "starts_at: must be set"),
        ("UpdateEvent", update("deadline", deadline=BEYOND_THE_CALENDAR), "deadline: must be a time from the year 1"),
        ("UpdateEvent", update("deadline", deadline=Timestamp()), "deadline: must not be before starts_at"),
        ("CancelEvent", events_pb2.CancelEventRequest(event_id=0), "event_id: must be 1 to"),
        ("ImportEvents", importing("name,when\n"), "content: the first line has no column starts_at and no column"),
        ("ImportEvents", importing("[1]"), "content: not a fixtures file"),
        ("ImportEvents", importing('{"matches": []}'), 'content: the tournament has no "name"'),
        ("ImportEvents", events_pb2.ImportEventsRequest(content=b"\xff"), "content: not UTF-8 text"),
        ("ImportEvents", importing("x" * (1024 * 1024 + 1)), "content: must be at most 1,048,576 bytes"),
        ("ImportEvents", importing("", format=9), "format: must be"),
        ("ImportEvents", importing("", time_zone="Atlantis/Center"), "time_zone: 'Atlantis/Center' is not a time zone"),
        ("ImportEvents", importing("", time_zone="../UTC"), "time_zone: '../UTC' is not a time zone"),
        ("ImportEvents", importing("", rate_until=Duration(seconds=-1)), "rate_until: must not be negative"),
        ("ImportEvents", importing("", rate_until=Duration(seconds=2**62)), "rate_until: must be a time from"),
        ("ImportEvents", importing("", source_name="x" * 201), "source_name: must be at most 200 characters"),
    ],
)
async def test_a_bad_request_about_events_names_its_field_and_what_it_must_be(
    server: RunningServer, add_event: AddEvent, method: str, request_message: Any, details: str
) -> None:
    event = await add_event()
    failed = await failure(getattr(server.events, method)(request_message, metadata=ADMIN))
    assert failed[0] is grpc.StatusCode.INVALID_ARGUMENT
    assert failed[1].startswith(details)
    listed = await server.events.GetEvents(events_pb2.GetEventsRequest())
    assert [(each.event_id, each.revision) for each in listed.events] == [(event.event_id, event.revision)]


def applied_scores(**differently: Any) -> scores_pb2.GetAppliedScoresRequest:
    return scores_pb2.GetAppliedScoresRequest(**{"event_id": 1, **differently})


def single(**differently: Any) -> scores_pb2.UpdateEventStatusByScoreRequest:
    return scores_pb2.UpdateEventStatusByScoreRequest(change=change(**{"event_id": 1, **differently}))


@pytest.mark.parametrize(
    ("method", "request_message", "details"),
    [
        ("ApplyScores", scores_pb2.ApplyScoresRequest(changes=[change(1)] * 10_001), "changes: must be at most 10,000"),
        ("UpdateEventStatusByScore", scores_pb2.UpdateEventStatusByScoreRequest(), "change: must be set"),
        ("UpdateEventStatusByScore", single(event_id=0), "event_id: must be 1 to"),
        ("UpdateEventStatusByScore", single(value=0), "value: must be 1 to 5"),
        ("UpdateEventStatusByScore", single(value=6), "value: must be 1 to 5"),
        ("UpdateEventStatusByScore", single(version=-1), "version: must be 1 to 2147483647"),
        ("UpdateEventStatusByScore", single(rater_id=b""), "rater_id: must be the 16 bytes of a UUID"),
        ("UpdateEventStatusByScore", single(rater_id=b"x" * 17), "rater_id: must be the 16 bytes of a UUID"),
        ("UpdateEventStatusByScore", single(accepted_at=None), "accepted_at: must be set"),
        ("UpdateEventStatusByScore", single(accepted_at=BEYOND_THE_CALENDAR), "accepted_at: must be a time"),
        ("GetTotals", scores_pb2.GetTotalsRequest(event_ids=[1] * 10_001), "event_ids: must be at most 10,000"),
        ("GetTotals", scores_pb2.GetTotalsRequest(event_ids=[1, -5]), "event_ids: must be 1 to"),
        ("GetAppliedScores", scores_pb2.GetAppliedScoresRequest(), "event_id: must be 1 to"),
        ("GetAppliedScores", applied_scores(page_size=-1), "page_size: must be 1 to 10,000"),
        ("GetAppliedScores", applied_scores(page_size=10_001), "page_size: must be 1 to 10,000"),
        ("GetAppliedScores", applied_scores(after_rater_id=b"x"), "after_rater_id: must be the 16 bytes of a UUID"),
        ("FinalizeEvent", scores_pb2.FinalizeEventRequest(), "event_id: must be 1 to"),
    ],
)
async def test_a_bad_request_about_scores_names_its_field_and_what_it_must_be(
    server: RunningServer, add_event: AddEvent, method: str, request_message: Any, details: str
) -> None:
    await add_event()
    failed = await failure(getattr(server.scores, method)(request_message, metadata=WORKER))
    assert failed[0] is grpc.StatusCode.INVALID_ARGUMENT
    assert failed[1].startswith(details)


@pytest.mark.parametrize(
    ("method", "request_message"),
    [
        ("GetEvent", events_pb2.GetEventRequest(event_id=999)),
        ("UpdateEvent", update("title", title="x", event_id=999)),
        ("CancelEvent", events_pb2.CancelEventRequest(event_id=2**63 - 1)),
    ],
)
async def test_an_unknown_event_is_not_found(server: RunningServer, method: str, request_message: Any) -> None:
    failed = await failure(getattr(server.events, method)(request_message, metadata=ADMIN))
    assert failed == (grpc.StatusCode.NOT_FOUND, f"event {request_message.event_id} does not exist")


@pytest.mark.parametrize(
    "metadata",
    [
        (),
        (("authorization", ""),),
        (("authorization", ADMIN_TOKEN),),
        (("authorization", "Bearer something-else-altogether"),),
        (("authorization", f"Basic {ADMIN_TOKEN}"),),
        (("authorization", f"Bearer {ADMIN_TOKEN} "),),
        (*ADMIN, *WORKER),
    ],
)
async def test_writes_need_a_token(server: RunningServer, metadata: tuple[tuple[str, str], ...]) -> None:
    for call in (
        server.events.CreateEvent(new_event(), metadata=metadata),
        server.events.UpdateEvent(update("title", title="x"), metadata=metadata),
        server.events.CancelEvent(events_pb2.CancelEventRequest(event_id=1), metadata=metadata),
        server.events.ImportEvents(importing("title,starts_at\nx,2027-01-01T19:00\n"), metadata=metadata),
        server.scores.ApplyScores(scores_pb2.ApplyScoresRequest(), metadata=metadata),
        server.scores.UpdateEventStatusByScore(single(), metadata=metadata),
        server.scores.GetTotals(scores_pb2.GetTotalsRequest(), metadata=metadata),
        server.scores.GetAppliedScores(scores_pb2.GetAppliedScoresRequest(), metadata=metadata),
        server.scores.FinalizeEvent(scores_pb2.FinalizeEventRequest(), metadata=metadata),
    ):
        code, details = await failure(call)
        assert code is grpc.StatusCode.UNAUTHENTICATED
        assert "authorization: Bearer TOKEN" in details
        assert ADMIN_TOKEN not in details
        assert WORKER_TOKEN not in details
    assert not (await server.events.GetEvents(events_pb2.GetEventsRequest())).events


NOBODY, EVERYBODY = None, "everybody"
# The role that each method needs. The test goes through all methods and fails for one that is missing here.
POLICY = {
    "EventService": {
        "GetEvents": EVERYBODY,
        "GetEvent": EVERYBODY,
        "WatchEvents": EVERYBODY,
        "CreateEvent": "admin",
        "UpdateEvent": "admin",
        "CancelEvent": "admin",
        "ImportEvents": "admin",
    },
    "ScoreService": {
        "ApplyScores": "worker",
        "UpdateEventStatusByScore": "worker",
        "GetTotals": "worker",
        "GetAppliedScores": "worker",
        "FinalizeEvent": "worker",
    },
}


@pytest.mark.parametrize(
    ("bearer", "metadata"), [(NOBODY, ()), ("admin", ADMIN), ("worker", WORKER), ("admin", NEXT_ADMIN)]
)
async def test_every_method_is_open_to_exactly_the_roles_of_the_policy(
    server: RunningServer, bearer: str | None, metadata: tuple[tuple[str, str], ...]
) -> None:
    services = events_pb2.DESCRIPTOR.services_by_name, scores_pb2.DESCRIPTOR.services_by_name
    for service in (service for named in services for service in named.values()):
        for method in service.methods:
            allowed = POLICY[service.name][method.name]
            stub = getattr(server, "events" if service.name == "EventService" else "scores")
            request = GetMessageClass(method.input_type)()
            call = getattr(stub, method.name)(request, metadata=metadata, timeout=10)
            try:
                await (call.read() if method.server_streaming else call)
                code = grpc.StatusCode.OK
            except grpc.aio.AioRpcError as error:
                code = error.code()
            finally:
                call.cancel()
            if allowed in {EVERYBODY, bearer}:
                assert code not in {grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.PERMISSION_DENIED}, method.name
            elif bearer is NOBODY:
                assert code is grpc.StatusCode.UNAUTHENTICATED, method.name
            else:
                assert code is grpc.StatusCode.PERMISSION_DENIED, method.name


async def test_a_server_with_another_threshold_applies_it_to_every_status(
    engine: AsyncEngine, add_event: AddEvent, database_url: str
) -> None:
    request = scores_pb2.UpdateEventStatusByScoreRequest(change=change((await add_event()).event_id, value=4))
    async with serving(database_url, high_score_from=Decimal("4.5")) as server:
        answer = await server.scores.UpdateEventStatusByScore(request, metadata=WORKER)
        assert answer.event.status == events_pb2.EVENT_STATUS_LOW_SCORE
    async with serving(database_url) as server:
        await server.reports(SERVING)
        again = await server.events.GetEvent(events_pb2.GetEventRequest(event_id=request.change.event_id))
        assert again.event.status == events_pb2.EVENT_STATUS_HIGH_SCORE


async def test_health_is_reported_for_the_whole_and_for_each_service(server: RunningServer) -> None:
    for service in ("", *SERVICES):
        await server.reports(SERVING, service=service)


async def test_reflection_lists_the_services(server: RunningServer) -> None:
    stub = reflection_pb2_grpc.ServerReflectionStub(server.channel)
    call = stub.ServerReflectionInfo(iter([reflection_pb2.ServerReflectionRequest(list_services="")]))
    (response,) = [response async for response in call]
    assert {*SERVICES, "grpc.health.v1.Health"} <= {each.name for each in response.list_services_response.service}


async def test_an_unreachable_database_is_reported_as_unavailable_and_not_serving() -> None:
    async with serving(UNREACHABLE) as server:
        for call in (
            server.events.GetEvents(events_pb2.GetEventsRequest()),
            server.events.GetEvent(events_pb2.GetEventRequest(event_id=1)),
            server.events.CreateEvent(new_event(), metadata=ADMIN),
            server.events.UpdateEvent(update("title", title="x"), metadata=ADMIN),
            server.events.CancelEvent(events_pb2.CancelEventRequest(event_id=1), metadata=ADMIN),
            server.scores.ApplyScores(scores_pb2.ApplyScoresRequest(changes=[change(1)]), metadata=WORKER),
            server.scores.UpdateEventStatusByScore(single(), metadata=WORKER),
            server.scores.GetTotals(scores_pb2.GetTotalsRequest(event_ids=[1]), metadata=WORKER),
            server.events.WatchEvents(events_pb2.WatchEventsRequest()).read(),
        ):
            assert (await failure(call))[0] is grpc.StatusCode.UNAVAILABLE
        for service in ("", *SERVICES):
            await server.reports(NOT_SERVING, service=service)


async def test_an_unexpected_error_is_reported_in_a_sentence_without_its_details(postgres: Postgres) -> None:
    unmigrated = await postgres.create_database("tested_empty", owner="tested_empty", password="secret")
    async with serving(unmigrated) as server:
        assert await failure(server.events.GetEvents(events_pb2.GetEventsRequest())) == (
            grpc.StatusCode.INTERNAL,
            "line_provider failed on this call; its log says why",
        )
        await server.reports(NOT_SERVING)


async def test_a_server_that_is_stopped_reports_it_and_ends(server: RunningServer) -> None:
    await server.reports(SERVING)
    server.stop.set()
    await server.stopped
    code, _ = await failure(server.events.GetEvents(events_pb2.GetEventsRequest()))
    assert code is grpc.StatusCode.UNAVAILABLE
