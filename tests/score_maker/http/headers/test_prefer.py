"""The header `Prefer` as RFC 7240 defines it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from score_maker.http.headers.prefer import wait_seconds


@pytest.mark.parametrize(
    ("prefer", "seconds"),
    [
        ([], None),
        (["wait=10"], 10),
        (["Wait=10"], 10),
        (["wait = 10"], 10),
        (['wait="10"'], 10),
        (['wait="1\\0"'], 10),
        (["wait=0"], 0),
        (["wait=31"], 30),
        (["wait=999999999"], 30),
        (["respond-async, wait=10"], 10),
        (["respond-async", "wait=10"], 10),
        (['foo; bar="a, wait=20;", wait=10; x=y, wait=5'], 10),
        (['foo="wait=20, b", wait=10'], 10),
        ([",, wait=10,"], 10),
        (["return=minimal"], None),
        (["wait"], None),
        (["wait="], None),
        (['wait=""'], None),
        (["wait=ten"], None),
        (["wait=-1"], None),
        (["wait=1.5"], None),
        (["wait=9999999999"], None),
        (["wait=soon, wait=10"], None),
        (["waiting=10"], None),
        (["; wait=10"], None),
        (['foo="unbalanced, wait=10'], 10),
        (["wait=10" + " " * 1_000], None),
    ],
)
def test_the_wait_is_read_from_the_header(prefer: list[str], seconds: int | None) -> None:
    assert wait_seconds(prefer, at_most=30) == seconds


@given(st.lists(st.text(alphabet='wait=0123456789,;"\\ ', max_size=40), max_size=4))
def test_any_header_gives_seconds_within_the_limit_or_none(prefer: list[str]) -> None:
    assert wait_seconds(prefer, at_most=30) in {None, *range(31)}
