"""Tokens of anonymous raters: only a token that this service signed identifies one."""

from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from itsdangerous import Signer

from score_maker.identity.anonymous import RaterTokens, new_rater_id

KEY = "a-secret-for-tests-that-is-long-enough"
TOKENS = RaterTokens(KEY)
RATER = TOKENS.mint()


def test_a_minted_token_identifies_its_rater() -> None:
    assert TOKENS.read(RATER.token) == RATER
    assert RaterTokens(KEY).read(RATER.token) == RATER


def test_a_token_of_an_earlier_release_identifies_its_rater() -> None:
    """Earlier releases signed tokens with itsdangerous's Signer, and those tokens do not expire."""
    earlier = Signer(KEY, salt="rater").sign(b"AZq7wQAAcACAAAAAAAAAAQ").decode()
    read = TOKENS.read(earlier)
    assert read is not None
    assert read.id == UUID("019abbc1-0000-7000-8000-000000000001")


def test_a_token_signed_with_another_key_is_rejected() -> None:
    assert RaterTokens(KEY + "!").read(RATER.token) is None


@pytest.mark.parametrize("position", range(len(RATER.token)))
def test_a_token_with_any_character_changed_is_rejected(position: int) -> None:
    other = "A" if RATER.token[position] != "A" else "B"
    assert TOKENS.read(RATER.token[:position] + other + RATER.token[position + 1 :]) is None


@given(st.text(max_size=200))
def test_arbitrary_text_is_rejected(text: str) -> None:
    assert TOKENS.read(text) is None
    assert TOKENS.read(RATER.token + text) is None or text == ""


def test_a_signed_text_that_is_not_an_id_is_rejected() -> None:
    for text in (b"", b"short", b"A" * 50):
        assert TOKENS.read(Signer(KEY, salt="rater").sign(text).decode()) is None


def test_ids_of_new_raters_start_with_the_time() -> None:
    ids = [new_rater_id() for _ in range(100)]
    assert ids == sorted(ids)
    assert len(set(ids)) == 100
