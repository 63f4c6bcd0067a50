"""Durations, and shifts of all events of a file."""

from collections import Counter
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest

from line_provider.events.domain import EventDraft
from line_provider.importing.importer import Format, read_file
from line_provider.importing.rows import ImportOptions
from line_provider.importing.times import ShiftTooFar, parse_duration, shift_to, shift_to_now

WORLD_CUP = Path(__file__).parents[3] / "fixtures" / "worldcup-2026.json"


def world_cup() -> list[EventDraft]:
    options = ImportOptions(rate_until=timedelta(hours=48), zone=UTC)
    return read_file(WORLD_CUP.read_bytes(), Format.FIXTURES, options).drafts


@pytest.mark.parametrize(
    ("text", "duration"),
    [
        ("48h", timedelta(hours=48)),
        ("90m", timedelta(minutes=90)),
        ("2d", timedelta(days=2)),
        ("1d12h", timedelta(hours=36)),
        ("1d2h3m", timedelta(days=1, hours=2, minutes=3)),
        ("0h", timedelta(0)),
    ],
)
def test_durations_are_days_hours_and_minutes(text: str, duration: timedelta) -> None:
    assert parse_duration(text) == duration


@pytest.mark.parametrize("text", ["", "48", "h", "-2h", "1.5h", "2h1d", "2 d", "two days", "9" * 12 + "d", "9" * 5000])
def test_other_texts_are_not_durations(text: str) -> None:
    with pytest.raises(ValueError, match=r"is not a duration like 48h|is too long"):
        parse_duration(text)


def test_shifted_to_now_the_world_cup_is_under_way_and_can_be_rated() -> None:
    drafts = world_cup()
    now = datetime(2030, 1, 2, 3, 4, 56, 789, tzinfo=UTC)
    shifted = shift_to_now(drafts, now)
    (offset,) = {after.starts_at - before.starts_at for before, after in zip(drafts, shifted, strict=True)}
    assert offset % timedelta(minutes=1) == timedelta(0)
    assert {after.deadline - after.starts_at for after in shifted} == {timedelta(hours=48)}
    assert [draft.external_id for draft in shifted] == [draft.external_id for draft in drafts]

    def kind(starts_at: datetime, deadline: datetime) -> str:
        if starts_at > now:
            return "ahead"
        return "under way" if deadline >= now else "over"

    kinds = Counter(kind(draft.starts_at, draft.deadline) for draft in shifted)
    assert kinds["ahead"] == pytest.approx(104 / 3, abs=4)
    assert kinds["under way"] >= 5
    assert max(draft.starts_at for draft in shifted if draft.starts_at <= now) > now - timedelta(minutes=1)


def test_shifted_to_a_day_the_first_event_starts_on_it_at_its_own_time() -> None:
    shifted = shift_to(world_cup(), date(2031, 5, 1))
    assert min(draft.starts_at for draft in shifted) == datetime(2031, 5, 1, 19, tzinfo=UTC)


def test_shifting_no_events_gives_none_and_out_of_the_calendar_is_rejected() -> None:
    assert shift_to([], date(2026, 1, 1)) == shift_to_now([], datetime.now(UTC)) == []
    with pytest.raises(ShiftTooFar, match="out of the calendar"):
        shift_to(world_cup(), date(9999, 12, 31))
