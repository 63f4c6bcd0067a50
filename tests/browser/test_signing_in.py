"""The page of a score_maker that accepts an issuer's tokens: readers sign in elsewhere, and see the events without."""

from collections.abc import AsyncIterator

import pytest
from playwright.async_api import expect

from devstack.addresses import Address
from devstack.system import System
from tests.browser.pages import Card, CreateEvent, OpenPage

# What the console logs for the cookie endpoint, which does not exist there, and for writes without a token.
_SIGN_IN = r"status of 40[14]"


@pytest.fixture
async def score_maker_with_issuer(system: System) -> AsyncIterator[str]:
    """The address of a score_maker that accepts the tokens of an issuer."""
    http = Address.free()
    settings = {
        "SCORE_MAKER_IDENTITY": "jwt",
        "SCORE_MAKER_JWT_ISSUER": "https://login.example.org",
        "SCORE_MAKER_JWT_AUDIENCE": "scoreline",
        # Nobody listens there: the keys are fetched for the first token, and these tests send none.
        "SCORE_MAKER_JWT_JWKS_URL": f"http://{Address.free()}/jwks.json",
    }
    async with system.another_score_maker("score_maker_with_issuer", http, settings):
        yield f"http://{http.local}"


@pytest.mark.parametrize(
    ("locale", "words"),
    [
        (
            "en-GB",
            "Couldn’t save your rating. Sign in on the site you came from, then try again. You have no rating here.",
        ),
        (
            "ru-RU",
            (
                "Не удалось сохранить оценку. Войдите на сайте, с которого вы пришли, и попробуйте ещё раз. "
                "Вашей оценки здесь нет."
            ),
        ),
    ],
)
async def test_events_are_shown_and_a_refused_rating_says_where_to_sign_in(
    score_maker_with_issuer: str, open_page: OpenPage, create_event: CreateEvent, locale: str, words: str
) -> None:
    event = await create_event()
    page = await open_page(event.path, expected=(_SIGN_IN,), base_url=score_maker_with_issuer, locale=locale)
    card = Card(page, event.event_id)
    for value in (4, 2):
        await card.rate(value)
        await expect(card.outcome).to_have_text(words)
        await card.shows_rating(None)
