"""Durations, time zones and local times, as files and command lines write them; and moving all events of a file."""

import re
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta, tzinfo
from math import ceil
from zoneinfo import ZoneInfo

from line_provider.events.domain import EventDraft, Invalid

OUTSIDE_THE_CALENDAR = "must be a time from the year 1 to the year 9999"

_DURATION = re.compile(r"(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m)?")


class ShiftTooFar(Exception):
    """A shift would move an event out of the calendar."""

    def __init__(self) -> None:
        super().__init__("this shift moves events out of the calendar")


def parse_duration(text: str) -> timedelta:
    """Parses 48h, 90m, 2d or 1d12h. Raises ValueError."""
    match = _DURATION.fullmatch(text)
    if match is None or not text:
        raise ValueError(f"{text!r} is not a duration like 48h, 90m, 2d or 1d12h")
    try:
        days, hours, minutes = (int(number or 0) for number in match.groups())
        return timedelta(days=days, hours=hours, minutes=minutes)
    except (OverflowError, ValueError):
        # Python refuses to parse numbers of thousands of digits.
        raise ValueError(f"{text!r} is too long") from None


def parse_zone(name: str) -> tzinfo:
    """Returns the zone of a name like Europe/London. Raises ValueError."""
    try:
        return ZoneInfo(name)
    except (KeyError, OSError, ValueError):
        raise ValueError(f"{name!r} is not a time zone like Europe/London") from None


def to_utc(field: str, time: datetime, zone: tzinfo) -> datetime:
    """Returns the time in UTC; a time without an offset is local to the zone. Raises Invalid, which names the field."""
    try:
        if time.tzinfo is not None:
            return time.astimezone(UTC)
        utc = time.replace(tzinfo=zone).astimezone(UTC)
        if utc.astimezone(zone).replace(tzinfo=None) != time:
            raise Invalid(field, f"{time} does not exist in {zone}, because the clocks are put forward then")
    except OverflowError:
        raise Invalid(field, OUTSIDE_THE_CALENDAR) from None
    return utc


def shift_to(drafts: Sequence[EventDraft], first_day: date) -> list[EventDraft]:
    """Moves all events by the same number of whole days, so that the first starts on that day (UTC).

    Raises ShiftTooFar.
    """
    if not drafts:
        return []
    first = min(draft.starts_at for draft in drafts)
    return _shifted(drafts, first_day - first.astimezone(UTC).date())


def shift_to_now(drafts: Sequence[EventDraft], now: datetime) -> list[EventDraft]:
    """Moves all events by the same number of whole minutes, so that two thirds of them have started.

    Raises ShiftTooFar.
    """
    if not drafts:
        return []
    starts = sorted(draft.starts_at for draft in drafts)
    latest_to_have_started = starts[ceil(len(starts) * 2 / 3) - 1]
    return _shifted(drafts, (now - latest_to_have_started) // timedelta(minutes=1) * timedelta(minutes=1))


def _shifted(drafts: Sequence[EventDraft], offset: timedelta) -> list[EventDraft]:
    try:
        return [
            replace(draft, starts_at=draft.starts_at + offset, deadline=draft.deadline + offset) for draft in drafts
        ]
    except OverflowError:
        raise ShiftTooFar from None
