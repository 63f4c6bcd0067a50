"""The page for every reader: language, time zone, theme, phone, keyboard, screen reader."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from axe_playwright_python.async_playwright import Axe
from playwright.async_api import Page, expect

from devstack.system import System
from tests.browser.pages import REFUSED, Card, ChangeEvent, CreateEvent, OpenPage, RateByMany, block_stream

PHONE: dict[str, Any] = {"viewport": {"width": 360, "height": 740}, "is_mobile": True, "has_touch": True}


async def assert_accessible(page: Page) -> None:
    results = await Axe().run(page)
    assert results.violations_count == 0, results.generate_report()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("device", [{}, PHONE], ids=["desktop", "phone"])
@pytest.mark.parametrize("locale", ["en-GB", "ru-RU"])
async def test_axe_finds_nothing_wrong_with_the_events(
    open_page: OpenPage, device: dict[str, Any], scheme: str, locale: str
) -> None:
    page = await open_page("/?phase=all", color_scheme=scheme, locale=locale, reduced_motion="reduce", **device)
    await expect(page.locator("article.card").first).to_be_visible()
    await assert_accessible(page)


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_axe_finds_nothing_wrong_in_any_state_of_a_rating(
    system: System,
    open_page: OpenPage,
    create_event: CreateEvent,
    close_event: ChangeEvent,
    scheme: str,
) -> None:
    counted, refused, pending = [await create_event(title="Judged") for _ in range(3)]
    page = await open_page(
        "/?q=Judged", color_scheme=scheme, reduced_motion="reduce", prepare=block_stream, expected=(REFUSED,)
    )
    await Card(page, counted.event_id).rate(4)
    await expect(Card(page, counted.event_id).outcome).to_have_text("Your rating counts")
    await close_event(refused.event_id)
    await Card(page, refused.event_id).rate(4)
    await expect(Card(page, refused.event_id).outcome).to_contain_text("Couldn’t save your rating.")
    await system.arq_worker.stop()
    await Card(page, pending.event_id).rate(4)
    await expect(Card(page, pending.event_id).outcome).to_have_text("Saved, being counted…")
    await assert_accessible(page)
    await system.arq_worker.start()


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_axe_finds_nothing_wrong_with_an_empty_list_and_with_my_ratings(
    open_page: OpenPage, create_event: CreateEvent, scheme: str
) -> None:
    event = await create_event()
    page = await open_page("/?q=there+is+no+such+event", color_scheme=scheme, reduced_motion="reduce")
    await expect(page.get_by_role("heading", name="No events found")).to_be_visible()
    await assert_accessible(page)
    await page.goto(event.path)
    await Card(page, event.event_id).rate(4)
    await expect(Card(page, event.event_id).outcome).to_have_text("Your rating counts")
    await page.get_by_role("link", name="My ratings").click()
    await page.get_by_role("button", name="Delete my ratings").click()
    await expect(page.get_by_role("dialog")).to_be_visible()
    await assert_accessible(page)
    await page.get_by_role("button", name="Keep my ratings").click()
    await assert_accessible(page)


async def test_everything_can_be_done_by_keyboard(open_page: OpenPage, create_event: CreateEvent) -> None:
    event = await create_event()

    async def install_fake_clock(page: Page) -> None:
        await page.clock.install()

    page = await open_page(event.path, prepare=install_fake_clock)
    card = Card(page, event.event_id)
    await expect(card.root).to_be_visible()
    await page.keyboard.press("Tab")
    await expect(page.get_by_role("link", name="Skip to the events")).to_be_focused()
    await page.keyboard.press("Enter")
    while not await card.star(1).locator("input").evaluate("star => star === document.activeElement"):
        await page.keyboard.press("Tab")

    # Arrow keys move from the first star to the fourth; only the star where they stop is submitted.
    await page.clock.pause_at(datetime.now(UTC) + timedelta(seconds=10))
    for _ in range(3):
        await page.keyboard.press("ArrowRight")
    await card.shows_rating(4)
    await page.clock.resume()
    await expect(card.outcome).to_have_text("Your rating counts")
    await card.shows_figures("4.0", "1 rating")
    score = await page.request.get(f"/events/{event.event_id}/score")
    assert (await score.json())["version"] == 1
    await page.keyboard.press("2")
    await card.shows_figures("2.0", "1 rating")
    await expect(card.outcome).to_have_text("Your rating counts")
    await expect(card.star(2).locator("input")).to_be_focused()

    await page.keyboard.press("Tab")
    await expect(card.withdraw).to_be_focused()
    await page.keyboard.press("Enter")
    await expect(card.outcome).to_have_text("Rating removed")
    await card.shows_figures("–", "no ratings")
    # The button is gone, and the focus has moved to the stars beside it.
    await expect(card.star(1).locator("input")).to_be_focused()


@pytest.mark.parametrize("locale", ["en-GB", "ru-RU"])
async def test_a_phone_shows_everything_without_scrolling_sideways(
    open_page: OpenPage, create_event: CreateEvent, rate_by_many: RateByMany, locale: str
) -> None:
    event = await create_event(title="Bosnia and Herzegovina – Trinidad and Tobago, Wednesdaynightfootballreplay")
    await rate_by_many(event.event_id, 1, 2, 5)
    page = await open_page(event.path, locale=locale, **PHONE)
    card = Card(page, event.event_id)
    await card.star(4).tap()
    await card.shows_rating(4)
    await expect(card.average).to_have_text("3.0" if locale == "en-GB" else "3,0")
    for path in (event.path, "/?phase=all", "/?page=mine", "/?q=there+is+no+such+event"):
        await page.goto(path)
        await expect(page.locator("article.card, .empty").first).to_be_visible()
        wide = await page.evaluate("[document.documentElement.scrollWidth, document.documentElement.clientWidth]")
        assert wide == [360, 360], path
    await page.goto(event.path)
    size = await card.star(3).bounding_box()
    assert size is not None
    assert min(size["width"], size["height"]) >= 44


async def test_a_russian_reader_sees_russian_with_its_plural_forms(
    open_page: OpenPage, create_event: CreateEvent, rate_by_many: RateByMany
) -> None:
    one, two, five = [await create_event(title="Множественное") for _ in range(3)]
    await rate_by_many(one.event_id, 4)
    await rate_by_many(two.event_id, 4, 5)
    await rate_by_many(five.event_id, 3, 3, 3, 3, 3)
    page = await open_page("/?q=множественное", locale="ru-RU", timezone_id="Europe/Moscow")
    await expect(Card(page, one.event_id).count).to_have_text("1 оценка")
    await expect(Card(page, two.event_id).count).to_have_text("2 оценки")
    await expect(Card(page, five.event_id).count).to_have_text("5 оценок")
    await expect(Card(page, two.event_id).average).to_have_text("4,5")
    await expect(page.locator("html")).to_have_attribute("lang", "ru")
    await expect(page.get_by_role("status")).to_have_text("Показано 3 события.")
    await Card(page, one.event_id).rate(2)
    await expect(Card(page, one.event_id).outcome).to_have_text("Оценка учтена")
    await expect(page.get_by_role("status")).to_have_text(f"{one.title}: Оценка учтена")


async def test_the_language_can_be_changed_and_is_remembered(open_page: OpenPage) -> None:
    page = await open_page()
    await page.get_by_role("button", name="Русский").click()
    await expect(page.get_by_role("heading", name="Как всё прошло?")).to_be_visible()
    await page.reload()
    await expect(page.get_by_role("heading", name="Как всё прошло?")).to_be_visible()
    await page.get_by_role("button", name="English").click()
    await expect(page.get_by_role("heading", name="How was it?")).to_be_visible()


async def test_times_are_the_readers_own(open_page: OpenPage, create_event: CreateEvent) -> None:
    event = await create_event()
    tokyo = await open_page(event.path, timezone_id="Asia/Tokyo")
    lima = await open_page(event.path, timezone_id="America/Lima")
    starts = [Card(page, event.event_id).root.locator("time") for page in (tokyo, lima)]
    assert await starts[0].get_attribute("datetime") == await starts[1].get_attribute("datetime")
    assert await starts[0].inner_text() != await starts[1].inner_text()
    for page, start in zip((tokyo, lima), starts, strict=True):
        hour_and_minute = await page.evaluate(
            "iso => new Date(iso).getHours() + ':' + String(new Date(iso).getMinutes()).padStart(2, '0')",
            await start.get_attribute("datetime"),
        )
        assert (await start.inner_text()).lstrip("0").endswith(hour_and_minute)


async def test_the_theme_follows_the_system_until_the_reader_chooses(open_page: OpenPage) -> None:
    page = await open_page(color_scheme="dark")
    ground = "getComputedStyle(document.body).backgroundColor"
    dark = await page.evaluate(ground)
    await page.emulate_media(color_scheme="light")
    light = await page.evaluate(ground)
    assert dark != light
    toggle = page.get_by_role("button", name="Dark theme")
    await expect(toggle).to_have_attribute("aria-pressed", "false")
    await toggle.click()
    await expect(toggle).to_have_attribute("aria-pressed", "true")
    assert await page.evaluate(ground) == dark
    await page.reload()
    await expect(toggle).to_have_attribute("aria-pressed", "true")
    assert await page.evaluate(ground) == dark


async def test_nothing_moves_for_readers_who_prefer_reduced_motion(
    system: System, open_page: OpenPage, create_event: CreateEvent
) -> None:
    event = await create_event()
    page = await open_page(event.path, reduced_motion="reduce")
    card = Card(page, event.event_id)
    await system.arq_worker.stop()
    await card.rate(4)
    await expect(card.outcome).to_have_text("Saved, being counted…")
    assert await page.evaluate("document.getAnimations().length") == 0
    await system.arq_worker.start()
    await expect(card.outcome).to_have_text("Your rating counts")


async def test_the_page_links_to_the_documentation_of_the_api(open_page: OpenPage) -> None:
    page = await open_page()
    await expect(page.get_by_role("link", name="API")).to_have_attribute("href", "/docs")
