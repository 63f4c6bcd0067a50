"""The page of a score_maker that takes an issuer's tokens: readers sign in elsewhere, and can look all the same."""

from collections.abc import AsyncIterator

import pytest
from playwright.async_api import expect

from devstack.addresses import Address
from devstack.system import System
from tests.browser.pages import Card, CreateEvent, OpenPage

# What the console says of the cookie that there is not, and of writes without a token.
_SIGN_IN = r"status of 40[14]"


@pytest.fixture
async def trustful(system: System) -> AsyncIterator[str]:
    """Its address."""
    http = Address.free()
    settings = {
        "SCORE_MAKER_IDENTITY": "jwt",
        "SCORE_MAKER_JWT_ISSUER": "https://login.example.org",
        "SCORE_MAKER_JWT_AUDIENCE": "scoreline",
        # Without a token nothing is checked, so nobody need be there.
        "SCORE_MAKER_JWT_JWKS_URL": f"http://{Address.free()}/jwks.json",
    }
    async with system.another_score_maker("score_maker_with_issuer", http, settings):
        yield f"http://{http.local}"


@pytest.mark.parametrize(
    ("locale", "words"),
    [
        ("en-GB", "Not accepted. Sign in first, on the site that brought you here. No rating of yours stands."),
        ("ru-RU", "Не принята. Сначала войдите на сайте, с которого вы пришли. Вашей оценки нет."),
    ],
)
async def test_events_are_shown_and_a_rating_says_where_to_sign_in(
    trustful: str, open_page: OpenPage, create_event: CreateEvent, locale: str, words: str
) -> None:
    event = await create_event()
    page = await open_page(event.path, expected=(_SIGN_IN,), base_url=trustful, locale=locale)
    card = Card(page, event.event_id)
    for value in (4, 2):
        await card.rate(value)
        await expect(card.outcome).to_have_text(words)
        await card.shows_rating(None)
