"""Words looked for in titles and descriptions, in whatever way people type them."""

import re
from unicodedata import normalize

# Accents, but for the breve, which makes a letter of its own: Russian й is not и. Marks of other scripts stay.
_ACCENTS = re.compile("[\u0300-\u0305\u0307-\u036f]")


def folded(text: str) -> str:
    """The text without what a searcher may leave out: letter case, accents, the dots of ё."""
    return normalize("NFC", _ACCENTS.sub("", normalize("NFKD", text).casefold()))


def words_of(query: str) -> tuple[str, ...]:
    """The words of a query, folded, each once; their order means nothing."""
    return tuple(sorted(set(folded(query).split())))
