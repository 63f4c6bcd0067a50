"""Reads events from files. Each format has a module of its own; rows.py says what such a module must contain."""

from dataclasses import dataclass, field
from enum import StrEnum

from line_provider.events.domain import EventDraft
from line_provider.importing import csv_table, fixtures, json_lines
from line_provider.importing.rows import BadRow, FormatReader, ImportOptions


class Format(StrEnum):
    """The formats by the names that the command line and the contract have for them. AUTO detects the format."""

    AUTO = "auto"
    FIXTURES = "fixtures"
    CSV = "csv"
    JSON_LINES = "jsonl"


# In the order in which formats are tried: the first that recognizes the file reads it. CSV is the last resort.
_READERS: dict[Format, FormatReader] = {
    Format.JSON_LINES: json_lines,
    Format.FIXTURES: fixtures,
    Format.CSV: csv_table,
}


@dataclass(frozen=True, slots=True)
class ImportedFile:
    """The contents of a file: the rows that can become events, and those that cannot."""

    drafts: list[EventDraft] = field(default_factory=list)
    bad_rows: list[BadRow] = field(default_factory=list)


def read_file(content: bytes, file_format: Format, options: ImportOptions) -> ImportedFile:
    """Reads every row of the file; the drafts are checked. Raises UnreadableFile."""
    reader = _READERS[detect_format(content) if file_format is Format.AUTO else file_format]
    file = ImportedFile()
    for row in reader.read(content, options):
        if isinstance(row, BadRow):
            file.bad_rows.append(row)
        else:
            file.drafts.append(row)
    return file


def detect_format(content: bytes) -> Format:
    """Returns the format that the content looks like. The content may be in that format and still be unreadable."""
    return next(file_format for file_format, reader in _READERS.items() if reader.recognizes(content))
