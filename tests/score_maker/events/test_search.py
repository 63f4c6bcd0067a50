"""Searching by text, however it is typed."""

import pytest

from score_maker.events.search import fold, words_of


@pytest.mark.parametrize(
    ("typed", "written"),
    [
        ("МАТЧ", "Матч открытия"),
        ("елка", "Ёлка"),
        ("ёлка", "Елка"),
        ("strasse", "Straße"),
        ("beyonce", "Beyoncé"),
        ("BEYONCÉ", "Beyonce\u0301"),
        ("istanbul", "İstanbul"),
        ("final", "ﬁnal"),
        ("ЗАЛІЗНИЙ", "Залізнии\u0306"),
    ],
)
def test_search_ignores_case_accents_and_the_dots_of_yo(typed: str, written: str) -> None:
    assert all(word in fold(written) for word in words_of(typed))


def test_a_distinct_letter_is_not_treated_as_an_accented_one() -> None:
    assert fold("чай") != fold("чаи")


def test_search_ignores_the_order_and_repetition_of_words() -> None:
    assert words_of(" USA  turkey USA") == words_of("Turkey usa")
    assert words_of(" \t") == ()
