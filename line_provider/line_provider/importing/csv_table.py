"""CSV whose first line names the columns: title and starts_at, and optionally other fields of an event."""

import csv
from io import StringIO

from line_provider.importing.records import REQUIRED, read_record
from line_provider.importing.rows import BadRow, ImportOptions, Rows, UnreadableFile, decode


def recognizes(content: bytes) -> bool:  # noqa: ARG001 - any text may be CSV until its first line is read
    return True


def read(content: bytes, options: ImportOptions) -> Rows:
    reader = csv.DictReader(StringIO(decode(content), newline=""), strict=True)
    try:
        missing = REQUIRED.difference(reader.fieldnames or ())
    except csv.Error as error:
        raise UnreadableFile(f"not CSV: {error}") from None
    if missing:
        raise UnreadableFile(f"the first line has no column {' and no column '.join(sorted(missing))}")
    while True:
        try:
            row = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            yield BadRow(f"line {reader.reader.line_num}", f"not CSV: {error}")
            continue
        place = f"line {reader.line_num}"
        if None in row:
            yield BadRow(place, "has more fields than the first line has columns")
        else:
            yield read_record(place, row, options)
