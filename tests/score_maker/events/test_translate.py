"""Reading other services' events: unknown values are tolerated, and a bad event does not affect the others."""

from datetime import UTC, datetime

import pytest
from structlog.testing import capture_logs

from score_maker.events.event import Event, Status
from score_maker.events.feed import _readable
from score_maker.events.translate import event_of
from scoreline.line_provider.v1 import events_pb2
from tests.support.scripted_line_provider import event

NEWER_STATUS = 1_000


def test_a_status_from_a_newer_line_provider_is_unknown_but_the_totals_still_count() -> None:
    message = event(1)
    message.status = NEWER_STATUS  # type: ignore[assignment]
    message.totals.count, message.totals.sum = 2, 9
    translated = event_of(message)
    assert (translated.status, translated.score_count, translated.average) == (Status.UNKNOWN, 2, 4.5)


@pytest.mark.parametrize("status", [status for status in Status if status is not Status.UNKNOWN])
def test_every_known_status_has_its_own_number(status: Status) -> None:
    message = event(1)
    message.status = events_pb2.EventStatus.Value(f"EVENT_STATUS_{status}")
    assert event_of(message).status is status


def test_only_optional_times_may_be_absent() -> None:
    translated = event_of(events_pb2.Event(event_id=1, status=events_pb2.EVENT_STATUS_PROCESSING))
    assert (translated.cancelled_at, translated.finalized_at) == (None, None)
    assert translated.created_at == datetime(1970, 1, 1, tzinfo=UTC)


def test_an_unreadable_event_does_not_affect_the_others() -> None:
    bad = event(2)
    bad.deadline.seconds = 10**15
    with capture_logs() as logs:
        readable: list[Event] = list(_readable([event(1), bad, event(3)]))
    assert [each.event_id for each in readable] == [1, 3]
    assert [(line["event"], line["event_id"]) for line in logs] == [("event_unreadable", 2)]
