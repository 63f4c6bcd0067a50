"""If-None-Match as RFC 9110 has it."""

import pytest

from score_maker.http.headers.etag import Document, matches


@pytest.mark.parametrize("condition", ['"a"', 'W/"a"', '"b", "a"', '"b",W/"a"', "*", " * ", '"x,y" , "a"', '"b",,"a"'])
def test_a_tag_that_is_named_matches_weak_or_not(condition: str) -> None:
    assert matches(condition, '"a"')


@pytest.mark.parametrize("condition", ["", "a", '"b"', '"A"', '"x, a"', '"a', 'W/"b"', '"*"', '"", ""'])
def test_what_does_not_name_the_tag_does_not_match(condition: str) -> None:
    assert not matches(condition, '"a"')


def test_other_bytes_have_another_tag() -> None:
    assert Document.of(b"1").etag != Document.of(b"2").etag
    assert Document.of(b"1") == Document.of(b"1")
