"""What every file format has in common: the options of an import, the results for single rows, and reading fields.

A format is a module with two functions:

- `recognizes(content)` tells whether the file looks like this format. It must be cheap and must not raise.
- `read(content, options)` yields an `EventDraft` or a `BadRow` for each row, so that a bad row never costs another row.
  It raises `UnreadableFile` if the file as a whole cannot be read.

A row's external_id must be the same each time the file is read, with or without a shift, so that importing the file
again adds nothing. A new format is a new module, and one line in importer.py.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta, tzinfo
from hashlib import sha256
from typing import Any, Protocol, TypeAlias

from line_provider.events.domain import LONGEST_DESCRIPTION, LONGEST_EXTERNAL_ID, EventDraft, Invalid, check_text
from line_provider.importing.times import OUTSIDE_THE_CALENDAR, to_utc

BYTE_ORDER_MARK = "\ufeff".encode()


@dataclass(frozen=True, slots=True)
class ImportOptions:
    """What the file does not say: how long after its start an event may be rated, in which zone times without an offset
    are local, and the name of the source, which keeps its external ids apart from those of other sources."""

    rate_until: timedelta
    zone: tzinfo
    source_name: str | None = None


@dataclass(frozen=True, slots=True)
class BadRow:
    """A row that cannot become an event. `place` is its line, or its match."""

    place: str
    reason: str


Rows: TypeAlias = Iterator[EventDraft | BadRow]


class UnreadableFile(Exception):
    """The file as a whole is not in the format; the message says why."""


class FormatReader(Protocol):
    """The two functions of a format's module, see above."""

    def recognizes(self, content: bytes) -> bool: ...

    def read(self, content: bytes, options: ImportOptions) -> Rows: ...


def decode(content: bytes) -> str:
    """Returns the text, without a byte order mark. Raises UnreadableFile."""
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise UnreadableFile("not UTF-8 text") from None


class Fields:
    """Reads the fields of one row, which may have any type. Raises Invalid, here and in every method."""

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
        return check_text(name, value.strip(), at_most=LONGEST_DESCRIPTION)

    def time(self, name: str, zone: tzinfo) -> datetime:
        """Returns the time in UTC; a time without an offset is local to the zone."""
        value = self.text(name)
        try:
            time = datetime.fromisoformat(value)
        except ValueError:
            raise Invalid(name, f"must look like 2026-06-11T19:00 or 2026-06-11T19:00Z, not {value!r}") from None
        if ":" not in value:
            raise Invalid(name, f"{value!r} has no time of day")
        return to_utc(name, time, zone)


def default_deadline(starts_at: datetime, rate_until: timedelta) -> datetime:
    """Returns the deadline of an event that was given none. Raises Invalid."""
    try:
        return starts_at + rate_until
    except OverflowError:
        raise Invalid("deadline", OUTSIDE_THE_CALENDAR) from None


def external_id_of(*parts: str) -> str:
    """Joins the parts to one id, which is readable as long as it is not too long, and a hash otherwise."""
    readable = "/".join(parts)
    return readable if len(readable) <= LONGEST_EXTERNAL_ID else f"sha256:{sha256(readable.encode()).hexdigest()}"
