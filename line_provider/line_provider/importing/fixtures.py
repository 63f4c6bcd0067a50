"""Match fixtures as openfootball publishes them: one JSON object with the name of a tournament and its matches."""

import json
import re
from collections import Counter
from datetime import date, datetime, timedelta, timezone, tzinfo

from line_provider.events.domain import EventDraft, Invalid, check_draft
from line_provider.importing.rows import (
    BYTE_ORDER_MARK,
    BadRow,
    Fields,
    ImportOptions,
    Rows,
    UnreadableFile,
    decode,
    default_deadline,
    external_id_of,
)
from line_provider.importing.times import to_utc

_KICK_OFF = re.compile(r"(\d{1,2}):(\d{2})(?: UTC(?:([+-])(\d{1,2})(?::(\d{2}))?)?)?")


def recognizes(content: bytes) -> bool:
    return content.removeprefix(BYTE_ORDER_MARK).lstrip().startswith((b"{", b"["))


def read(content: bytes, options: ImportOptions) -> Rows:
    try:
        file = json.loads(decode(content))
    except (ValueError, RecursionError) as error:
        raise UnreadableFile(f"not JSON: {error}") from None
    if not isinstance(file, dict) or not isinstance(file.get("matches"), list):
        raise UnreadableFile('not a fixtures file: an object with a list of "matches" is expected')
    tournament = file.get("name") or options.source_name
    if not isinstance(tournament, str):
        raise UnreadableFile('the tournament has no "name": give one as the name of the source')
    seen: Counter[str] = Counter()
    for number, match in enumerate(file["matches"], start=1):
        place = f"match {number}"
        try:
            fields = Fields(match)
            title = f"{fields.text('team1')} – {fields.text('team2')}"
            place = f"match {number} ({title})"
            identity = _identity(options.source_name or tournament, fields, title)
            # Two matches of the same identity are told apart by their order in the file.
            seen[identity] += 1
            starts_at = _kick_off(fields, options.zone)
            details = (tournament, *(fields.optional_text(name) for name in ("round", "group", "ground")))
            yield check_draft(
                EventDraft(
                    title=title,
                    description=", ".join(detail for detail in details if detail),
                    starts_at=starts_at,
                    deadline=default_deadline(starts_at, options.rate_until),
                    external_id=external_id_of(identity, *([str(seen[identity])] if seen[identity] > 1 else [])),
                )
            )
        except Invalid as invalid:
            yield BadRow(place, str(invalid))


def _identity(source: str, fields: Fields, title: str) -> str:
    """The match's number, or else its round and teams: neither changes when the match is moved to another date."""
    number = fields.content.get("num")
    if isinstance(number, int):
        return f"{source}/{number}"
    return f"{source}/{fields.optional_text('round')}/{title}"


def _kick_off(fields: Fields, zone: tzinfo) -> datetime:
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
        raise Invalid("date and time", f"{day} {time} does not exist") from None
    return to_utc("time", local, zone)
