"""The request header `Prefer` (RFC 7240); of its preferences, `wait` is honoured."""

import re
from collections.abc import Iterator, Sequence

_TOKEN = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"  # noqa: S105 - the grammar's name for it
_QUOTED = r'"(?:[^"\\]|\\.)*"'
_MEMBER = re.compile(rf'(?:{_QUOTED}|[^,"]|")+')
# Parameters, after a semicolon, have no meaning for `wait`.
_PREFERENCE = re.compile(rf"\s*({_TOKEN})(?:\s*=\s*({_TOKEN}|{_QUOTED})?)?\s*(?:;.*)?")
_SECONDS = re.compile(r"[0-9]{1,9}")
_LONGEST_HEADER = 1_000


def wait_seconds(prefer: Sequence[str], *, at_most: int) -> int | None:
    """Returns how long the client prefers to wait for the outcome; None if it does not say.

    `prefer` has the values of all such headers. Malformed preferences are ignored, as unknown ones are.
    """
    for name, value in _preferences(prefer):
        # The first of several with the same name wins.
        if name == "wait":
            return min(int(value), at_most) if _SECONDS.fullmatch(value) else None
    return None


def _preferences(prefer: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Yields names in lower case, with their values."""
    for header in prefer:
        if len(header) <= _LONGEST_HEADER:
            for member in _MEMBER.findall(header):
                if match := _PREFERENCE.fullmatch(member):
                    yield match[1].lower(), _unquoted(match[2] or "")


def _unquoted(value: str) -> str:
    return re.sub(r"\\(.)", r"\1", value[1:-1]) if value.startswith('"') else value
