"""The request header `Prefer` (RFC 7240), and of its preferences the one that is honoured here: `wait`."""

import re
from collections.abc import Iterator, Sequence

_TOKEN = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"  # noqa: S105 - the grammar's name for it
_QUOTED = r'"(?:[^"\\]|\\.)*"'
_MEMBER = re.compile(rf'(?:{_QUOTED}|[^,"]|")+')
# Parameters, behind a semicolon, say nothing to `wait`.
_PREFERENCE = re.compile(rf"\s*({_TOKEN})(?:\s*=\s*({_TOKEN}|{_QUOTED})?)?\s*(?:;.*)?")
_SECONDS = re.compile(r"[0-9]{1,9}")
_LONGEST_HEADER = 1_000


def wait_seconds(prefer: Sequence[str], *, at_most: int) -> int | None:
    """For how long the client would rather wait than be told "not yet"; None where it does not say so.

    `prefer` are the values of all such headers. What is not as RFC 7240 has it is passed over, as preferences are.
    """
    for name, value in _preferences(prefer):
        # Of several of one name, the first holds.
        if name == "wait":
            return min(int(value), at_most) if _SECONDS.fullmatch(value) else None
    return None


def _preferences(prefer: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Names in lower case, with their values."""
    for header in prefer:
        if len(header) <= _LONGEST_HEADER:
            for member in _MEMBER.findall(header):
                if match := _PREFERENCE.fullmatch(member):
                    yield match[1].lower(), _unquoted(match[2] or "")


def _unquoted(value: str) -> str:
    return re.sub(r"\\(.)", r"\1", value[1:-1]) if value.startswith('"') else value
