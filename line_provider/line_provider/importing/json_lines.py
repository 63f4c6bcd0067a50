"""JSON lines: each line is an object with the fields of an event."""

import json

from line_provider.importing.records import read_record
from line_provider.importing.rows import BYTE_ORDER_MARK, BadRow, ImportOptions, Rows, decode


def recognizes(content: bytes) -> bool:
    first_line, *_ = content.removeprefix(BYTE_ORDER_MARK).lstrip().split(b"\n", 1)
    try:
        first = json.loads(first_line)
    except (ValueError, RecursionError):
        return False
    # Fixtures on a single line are an object too.
    return isinstance(first, dict) and "matches" not in first


def read(content: bytes, options: ImportOptions) -> Rows:
    for number, line in enumerate(decode(content).split("\n"), start=1):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
        except (ValueError, RecursionError) as error:
            yield BadRow(f"line {number}", f"not JSON: {error}")
            continue
        yield read_record(f"line {number}", record, options)
