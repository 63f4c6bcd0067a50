"""The rules of events that need no database."""

import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from line_provider.events.domain import (
    Event,
    EventDraft,
    EventEdit,
    Invalid,
    Phase,
    Status,
    Totals,
    check_draft,
    edited,
    phase_of,
)

START = datetime(2026, 6, 11, 19, tzinfo=UTC)
DEADLINE = START + timedelta(hours=48)
MOMENT = timedelta(microseconds=1)

DRAFT = EventDraft(
    title="Mexico – South Africa", description="Group A", starts_at=START, deadline=DEADLINE, external_id="wc/1"
)
EVENT = Event(
    event_id=1,
    external_id="wc/1",
    title="Mexico – South Africa",
    description="Group A",
    starts_at=START,
    deadline=DEADLINE,
    status=Status.PROCESSING,
    cancelled_at=None,
    finalized_at=None,
    totals=Totals(0, 0, (0, 0, 0, 0, 0)),
    revision=1,
    created_at=START,
    updated_at=START,
)


def test_an_event_is_open_up_to_its_deadline_even_before_it_starts() -> None:
    assert phase_of(EVENT, START - timedelta(days=1)) is Phase.OPEN
    assert phase_of(EVENT, DEADLINE) is Phase.OPEN
    assert phase_of(EVENT, DEADLINE + MOMENT) is Phase.CLOSED


def test_a_cancelled_event_is_neither_open_nor_closed() -> None:
    cancelled = replace(EVENT, cancelled_at=START)
    assert {phase_of(cancelled, START), phase_of(cancelled, DEADLINE + MOMENT)} == {Phase.CANCELLED}


def test_a_draft_at_the_limits_is_fine() -> None:
    check_draft(
        EventDraft(title="ø" * 200, description="d" * 10_000, starts_at=START, deadline=START, external_id="x" * 200)
    )


@pytest.mark.parametrize(
    ("draft", "message"),
    [
        (replace(DRAFT, title=""), "title: must be 1 to 200 characters"),
        (replace(DRAFT, title=" \t"), "title: must be 1 to 200 characters"),
        (replace(DRAFT, title="x" * 201), "title: must be at most 200 characters, not 201"),
        (replace(DRAFT, title="a\0b"), "title: must not contain NUL characters"),
        (replace(DRAFT, title="a\ud800b"), "title: must not contain NUL characters or unpaired surrogates"),
        (replace(DRAFT, description="x" * 10_001), "description: must be at most 10,000 characters, not 10,001"),
        (replace(DRAFT, external_id="x" * 201), "external_id: must be at most 200 characters, not 201"),
        (replace(DRAFT, deadline=START - MOMENT), "deadline: must not be before starts_at"),
    ],
)
def test_an_invalid_draft_names_its_field_and_what_it_must_be(draft: EventDraft, message: str) -> None:
    with pytest.raises(Invalid, match=f"^{re.escape(message)}"):
        check_draft(draft)


def test_an_edit_changes_what_it_names_and_nothing_else() -> None:
    assert edited(EVENT, EventEdit()) == EVENT
    assert edited(EVENT, EventEdit(title="Final")) == replace(EVENT, title="Final")
    assert edited(EVENT, EventEdit(description="")) == replace(EVENT, description="")


def test_an_edit_is_checked_together_with_the_fields_that_it_leaves() -> None:
    with pytest.raises(Invalid, match=r"^deadline: must not be before starts_at"):
        edited(EVENT, EventEdit(starts_at=DEADLINE + MOMENT))
