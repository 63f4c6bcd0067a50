"""Reading events from files: match fixtures (openfootball's JSON), CSV and JSON lines, to plain data.

Each row becomes a draft or a bad row with its place and reason; one never costs another. A row's external_id stays the
same however often the file is read and whatever shift is asked for, so that importing it again adds nothing.
"""

import csv
import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta, timezone, tzinfo
from enum import StrEnum
from hashlib import sha256
from io import StringIO
from math import ceil
from typing import Any
from zoneinfo import ZoneInfo

from line_provider.events.domain import EventDraft, Invalid, check_draft, check_text

_KICK_OFF = re.compile(r"(\d{1,2}):(\d{2})(?: UTC(?:([+-])(\d{1,2})(?::(\d{2}))?)?)?")
_DURATION = re.compile(r"(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m)?")


class Format(StrEnum):
    AUTO = "auto"
    FIXTURES = "fixtures"
    CSV = "csv"
    JSON_LINES = "jsonl"


@dataclass(frozen=True, slots=True)
class Rules:
    """What the file does not say: how long an event may be rated, where its local times are local, whose it is."""

    rate_until: timedelta
    zone: tzinfo
    source_name: str | None = None


@dataclass(frozen=True, slots=True)
class BadRow:
    """A row that became no event. `place` is its line or its match."""

    place: str
    reason: str


@dataclass(frozen=True, slots=True)
class Parsed:
    drafts: list[EventDraft]
    bad_rows: list[BadRow]


class UnreadableFile(Exception):
    """The file as a whole is not what it should be."""


def parse_file(content: bytes, file_format: Format, rules: Rules) -> Parsed:
    """Every event that the file names. Raises UnreadableFile."""
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise UnreadableFile("not UTF-8 text") from None
    return parse(text, file_format, rules)


def parse(text: str, file_format: Format, rules: Rules) -> Parsed:
    """Every event that the text names. Raises UnreadableFile."""
    match guess_format(text) if file_format is Format.AUTO else file_format:
        case Format.FIXTURES:
            rows = _fixtures(text, rules)
        case Format.JSON_LINES:
            rows = _json_lines(text, rules)
        case _:
            rows = _csv(text, rules)
    parsed = Parsed([], [])
    for row in rows:
        if isinstance(row, BadRow):
            parsed.bad_rows.append(row)
        else:
            parsed.drafts.append(row)
    return parsed


def guess_format(text: str) -> Format:
    """CSV, unless the text is JSON: then JSON lines, if its first line is an event."""
    first_line, *_ = text.lstrip().split("\n", 1)
    if not first_line.startswith(("{", "[")):
        return Format.CSV
    try:
        first = json.loads(first_line)
    except ValueError:
        return Format.FIXTURES
    return Format.JSON_LINES if isinstance(first, dict) and "matches" not in first else Format.FIXTURES


def parse_duration(text: str) -> timedelta:
    """48h, 90m, 2d, 1d12h; raises ValueError."""
    match = _DURATION.fullmatch(text)
    if match is None or not text:
        raise ValueError(f"{text!r} is not a duration like 48h, 90m, 2d or 1d12h")
    days, hours, minutes = (int(number or 0) for number in match.groups())
    try:
        return timedelta(days=days, hours=hours, minutes=minutes)
    except OverflowError:
        raise ValueError(f"{text!r} is too long") from None


def parse_zone(name: str) -> tzinfo:
    """Europe/London; raises ValueError."""
    try:
        return ZoneInfo(name)
    except (KeyError, OSError, ValueError):
        raise ValueError(f"{name!r} is no time zone like Europe/London") from None


def to_utc(field: str, time: datetime, zone: tzinfo) -> datetime:
    """The time in UTC; one that names no offset is local to the zone."""
    try:
        if time.tzinfo is not None:
            return time.astimezone(UTC)
        utc = time.replace(tzinfo=zone).astimezone(UTC)
        if utc.astimezone(zone).replace(tzinfo=None) != time:
            raise Invalid(field, f"there is no {time} in {zone}, where the clocks were put forward then")
    except OverflowError:
        raise Invalid(field, "must be a time from the year 1 to the year 9999") from None
    return utc


def shift_to(drafts: Sequence[EventDraft], first_day: date) -> list[EventDraft]:
    """Moves all events by the same whole days, so that the first starts on that day (UTC)."""
    if not drafts:
        return []
    first = min(draft.starts_at for draft in drafts)
    return _shifted(drafts, first_day - first.astimezone(UTC).date())


def shift_to_now(drafts: Sequence[EventDraft], now: datetime) -> list[EventDraft]:
    """Moves all events by the same whole minutes, so that two thirds of them have started."""
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
        raise UnreadableFile("shifted like that, its events lie beyond the calendar") from None


def _fixtures(text: str, rules: Rules) -> Iterator[EventDraft | BadRow]:
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UnreadableFile(f"not JSON: {error}") from None
    if not isinstance(content, dict) or not isinstance(content.get("matches"), list):
        raise UnreadableFile('not a fixtures file: an object with a list of "matches" is expected')
    tournament = content.get("name") or rules.source_name
    if not isinstance(tournament, str):
        raise UnreadableFile('the tournament has no "name": give one as the name of the source')
    seen: Counter[str] = Counter()
    for number, match in enumerate(content["matches"], start=1):
        place = f"match {number}"
        try:
            fields = _Fields(match)
            title = f"{fields.text('team1')} – {fields.text('team2')}"
            place = f"match {number} ({title})"
            # The number of a match, or else its round and teams, outlive a change of its date; two alike are counted.
            identity = _match_identity(rules.source_name or tournament, fields, title)
            seen[identity] += 1
            starts_at = _kick_off(fields, rules.zone)
            details = (tournament, *(fields.optional_text(name) for name in ("round", "group", "ground")))
            yield check_draft(
                EventDraft(
                    title=title,
                    description=", ".join(detail for detail in details if detail),
                    starts_at=starts_at,
                    deadline=_deadline(starts_at, rules),
                    external_id=_external_id(identity, *([str(seen[identity])] if seen[identity] > 1 else [])),
                )
            )
        except Invalid as invalid:
            yield BadRow(place, str(invalid))


def _match_identity(source: str, fields: "_Fields", title: str) -> str:
    number = fields.content.get("num")
    if isinstance(number, int):
        return f"{source}/{number}"
    return f"{source}/{fields.optional_text('round')}/{title}"


def _kick_off(fields: "_Fields", zone: tzinfo) -> datetime:
    day, time = fields.text("date"), fields.optional_text("time")
    if not time:
        status = fields.optional_text("status")
        raise Invalid("time", f"is missing (status: {status})" if status else "is missing")
    match = _KICK_OFF.fullmatch(time)
    if match is None:
        raise Invalid("time", f"must look like 20:00 or 13:00 UTC-6, not {time!r}")
    hour, minute, sign, offset_hours, offset_minutes = match.groups()
    try:
        local = datetime.fromisoformat(f"{date.fromisoformat(day)}T{hour:0>2}:{minute}")
        if "UTC" in time:
            offset = timedelta(hours=int(offset_hours or 0), minutes=int(offset_minutes or 0))
            zone = timezone(-offset if sign == "-" else offset)
    except ValueError:
        raise Invalid("date and time", f"there is no {day} {time}") from None
    return to_utc("time", local, zone)


def _csv(text: str, rules: Rules) -> Iterator[EventDraft | BadRow]:
    reader = csv.DictReader(StringIO(text, newline=""), strict=True)
    try:
        missing = {"title", "starts_at"} - set(reader.fieldnames or ())
    except csv.Error as error:
        raise UnreadableFile(f"not CSV: {error}") from None
    if missing:
        raise UnreadableFile(f"the first line names no column {' and no column '.join(sorted(missing))}")
    while True:
        try:
            row = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            yield BadRow(f"line {reader.reader.line_num}", f"not CSV: {error}")
            continue
        place = f"line {reader.line_num}"
        yield BadRow(place, "has more fields than the first line names") if None in row else _record(place, row, rules)


def _json_lines(text: str, rules: Rules) -> Iterator[EventDraft | BadRow]:
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            content = json.loads(line)
        except (ValueError, RecursionError) as error:
            yield BadRow(f"line {number}", f"not JSON: {error}")
            continue
        yield _record(f"line {number}", content, rules)


def _record(place: str, content: object, rules: Rules) -> EventDraft | BadRow:
    """A row of CSV or JSON lines. Without an external_id, its title and start tell it apart."""
    try:
        fields = _Fields(content)
        title, starts_at = fields.text("title"), fields.time("starts_at", rules.zone)
        external_id = fields.optional_text("external_id") or f"{title}/{starts_at.isoformat()}"
        if rules.source_name:
            external_id = f"{rules.source_name}/{external_id}"
        return check_draft(
            EventDraft(
                title=title,
                description=fields.optional_text("description"),
                starts_at=starts_at,
                deadline=(
                    fields.time("deadline", rules.zone)
                    if fields.optional_text("deadline")
                    else _deadline(starts_at, rules)
                ),
                external_id=_external_id(external_id),
            )
        )
    except Invalid as invalid:
        return BadRow(place, str(invalid))


class _Fields:
    """The fields of one row, which may be anything until they were looked at."""

    def __init__(self, content: object) -> None:
        if not isinstance(content, Mapping):
            raise Invalid("row", f"must be an object, not {type(content).__name__}")
        self.content: Mapping[str, Any] = content

    def text(self, name: str) -> str:
        value = self.optional_text(name)
        if not value:
            raise Invalid(name, "is missing")
        return value

    def optional_text(self, name: str) -> str:
        value = self.content.get(name)
        if value is None:
            return ""
        if not isinstance(value, str):
            raise Invalid(name, f"must be text, not {type(value).__name__}")
        return check_text(name, value.strip(), at_most=10_000)

    def time(self, name: str, zone: tzinfo) -> datetime:
        value = self.text(name)
        try:
            time = datetime.fromisoformat(value)
        except ValueError:
            raise Invalid(name, f"must look like 2026-06-11T19:00 or 2026-06-11T19:00Z, not {value!r}") from None
        if ":" not in value:
            raise Invalid(name, f"{value!r} names no time of day")
        return to_utc(name, time, zone)


def _deadline(starts_at: datetime, rules: Rules) -> datetime:
    try:
        return starts_at + rules.rate_until
    except OverflowError:
        raise Invalid("deadline", "must be a time from the year 1 to the year 9999") from None


def _external_id(*parts: str) -> str:
    """The parts in one, readable as long as they are short enough."""
    readable = "/".join(parts)
    return readable if len(readable) <= 200 else f"sha256:{sha256(readable.encode()).hexdigest()}"
