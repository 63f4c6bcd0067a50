"""Search for words in titles and descriptions, insensitive to letter case and accents."""

import re
from unicodedata import normalize

# Combining accents except the breve, which makes another letter: Russian й is not и. Marks of other scripts stay.
_ACCENTS = re.compile("[\u0300-\u0305\u0307-\u036f]")


def fold(text: str) -> str:
    """Returns the text without letter case and accents, among them the dots of ё."""
    return normalize("NFC", _ACCENTS.sub("", normalize("NFKD", text).casefold()))


def words_of(query: str) -> tuple[str, ...]:
    """Returns the distinct words of a query, folded and sorted; their order in the query does not matter."""
    return tuple(sorted(set(fold(query).split())))
