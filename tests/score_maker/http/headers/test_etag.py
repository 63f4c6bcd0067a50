"""The header `If-None-Match` as RFC 9110 defines it."""

import pytest

from score_maker.http.headers.etag import Document, matches


@pytest.mark.parametrize("condition", ['"a"', 'W/"a"', '"b", "a"', '"b",W/"a"', "*", " * ", '"x,y" , "a"', '"b",,"a"'])
def test_a_listed_tag_matches_whether_weak_or_strong(condition: str) -> None:
    assert matches(condition, '"a"')


@pytest.mark.parametrize("condition", ["", "a", '"b"', '"A"', '"x, a"', '"a', 'W/"b"', '"*"', '"", ""'])
def test_a_condition_without_the_tag_does_not_match(condition: str) -> None:
    assert not matches(condition, '"a"')


def test_different_bytes_have_different_tags() -> None:
    assert Document.of(b"1").etag != Document.of(b"2").etag
    assert Document.of(b"1") == Document.of(b"1")
