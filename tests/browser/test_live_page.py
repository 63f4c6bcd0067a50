"""The page while other people rate, and while services are unreachable."""

import asyncio
from datetime import timedelta

from httpx import AsyncClient
from playwright.async_api import Page, expect

from devstack.system import System
from tests.browser.pages import UNREACHABLE, Card, ChangeEvent, CreateEvent, OpenPage


async def is_live(page: Page) -> None:
    await expect(page.locator(".connection")).to_have_text("Live")


async def test_a_rating_in_one_browser_moves_the_bars_in_another(
    open_page: OpenPage, create_event: CreateEvent
) -> None:
    event = await create_event()
    giving, watching = await open_page(event.path), await open_page(event.path)
    await asyncio.gather(is_live(giving), is_live(watching))
    given, seen = Card(giving, event.event_id), Card(watching, event.event_id)
    await given.rate(5)
    await seen.shows_figures("5.0", "1 rating")
    await seen.rate(2)
    await given.shows_figures("3.5", "2 ratings")
    await expect(given.bars).to_have_attribute("aria-label", "Ratings by stars. 5 stars: 1 rating, 2 stars: 1 rating")
    await given.shows_rating(5)
    await given.withdraw.click()
    await seen.shows_figures("2.0", "1 rating")


async def test_the_page_reconnects_after_score_maker_was_unreachable(
    system: System, rater: AsyncClient, open_page: OpenPage, create_event: CreateEvent
) -> None:
    event = await create_event()
    page = await open_page(event.path, expected=(UNREACHABLE,))
    card = Card(page, event.event_id)
    await is_live(page)
    await system.score_maker.stop()
    await expect(page.locator(".connection")).to_have_text("Offline")
    await expect(page.get_by_text("These are the last results we loaded")).to_be_visible()
    await card.shows_figures("–", "no ratings")
    await system.score_maker.start()
    await rater.post(f"/events/{event.event_id}/score", json={"score": 4})
    await is_live(page)
    await card.shows_figures("4.0", "1 rating")
    await expect(page.locator(".banner")).to_have_count(0)


async def test_a_page_that_was_hidden_catches_up(
    rater: AsyncClient, open_page: OpenPage, create_event: CreateEvent
) -> None:
    event = await create_event()
    page = await open_page(event.path)
    card = Card(page, event.event_id)
    await is_live(page)
    await page.evaluate(_SET_HIDDEN, True)
    await rater.post(f"/events/{event.event_id}/score", json={"score": 3})
    await page.evaluate(_SET_HIDDEN, False)
    await card.shows_figures("3.0", "1 rating")


# A headless browser never hides a page, so the test pretends that it does.
_SET_HIDDEN = """hidden => {
    Object.defineProperty(document, "hidden", { configurable: true, get: () => hidden });
    document.dispatchEvent(new Event("visibilitychange"));
}"""


async def test_a_banner_is_shown_while_results_are_stale(
    system: System, open_page: OpenPage, create_event: CreateEvent
) -> None:
    event = await create_event()
    page = await open_page(event.path)
    card = Card(page, event.event_id)
    await expect(card.root).to_be_visible()
    banner = page.get_by_text("Results may be a little behind")
    await expect(banner).to_have_count(0)
    await system.line_provider.kill()
    await expect(banner).to_be_visible()
    await card.rate(4)
    await expect(card.outcome).to_have_text("Saved, being counted…")
    await system.line_provider.start()
    await expect(banner).to_have_count(0)
    await expect(card.outcome).to_have_text("Your rating counts")
    await card.shows_figures("4.0", "1 rating")


async def test_an_event_that_is_cancelled_can_no_longer_be_rated(
    open_page: OpenPage, create_event: CreateEvent, cancel_event: ChangeEvent
) -> None:
    event = await create_event(closes_in=timedelta(hours=5))
    page = await open_page(event.path)
    card = Card(page, event.event_id)
    await is_live(page)
    await cancel_event(event.event_id)
    await expect(card.phase).to_have_text("Cancelled")
    await expect(card.star(1).locator("input")).to_be_disabled()
