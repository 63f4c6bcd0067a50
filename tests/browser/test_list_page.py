"""Finding events on the page: search, filters, sort order, pagination, and shared views."""

import re

from httpx import AsyncClient
from playwright.async_api import Page, Route, expect

from tests.browser.pages import Card, ChangeEvent, CreateEvent, NewEvent, OpenPage, RateByMany


async def shown_ids(page: Page) -> list[int]:
    ids: list[int] = await page.locator("article.card").evaluate_all(
        "cards => cards.map(card => Number(card.dataset.event))"
    )
    return ids


async def shows(page: Page, *events: NewEvent) -> None:
    """Waits until the page shows exactly these events, in this order."""
    for position, event in enumerate(events):
        await expect(page.locator("article.card").nth(position)).to_have_attribute("data-event", str(event.event_id))
    await expect(page.locator("article.card")).to_have_count(len(events))


async def listed_ids(api: AsyncClient, **parameters: str | int) -> list[int]:
    return [event["event_id"] for event in (await api.get("/events", params=parameters)).json()["events"]]


async def test_the_page_starts_with_open_events_ordered_by_deadline(rater: AsyncClient, open_page: OpenPage) -> None:
    page = await open_page()
    await expect(page.locator("article.card").first).to_be_visible()
    shown = await shown_ids(page)
    assert shown == (await listed_ids(rater, phase="open", sort="deadline"))[: len(shown)]
    await expect(page.get_by_role("radio", name="Open")).to_be_checked()


async def test_a_search_finds_matching_events_and_is_in_the_address(
    open_page: OpenPage, create_event: CreateEvent
) -> None:
    event, other = await create_event(title="Reykjavík open air"), await create_event()
    page = await open_page()
    await page.get_by_label("Search events").press_sequentially(event.title.upper())
    await expect(page.locator("article.card")).to_have_count(1)
    await expect(Card(page, event.event_id).root).to_be_visible()
    assert other.event_id not in await shown_ids(page)
    await expect(page).to_have_url(re.compile(r"\?q=REYKJAV"))
    await expect(page.get_by_role("status")).to_have_text("Showing 1 event.")


async def test_a_search_without_results_offers_all_events(open_page: OpenPage) -> None:
    page = await open_page("/?q=there+is+no+such+event&status=LOW_SCORE")
    await expect(page.get_by_role("heading", name="No events found")).to_be_visible()
    await page.get_by_role("button", name="Show all events").click()
    await expect(page.locator("article.card").first).to_be_visible()
    await expect(page.get_by_label("Search events")).to_have_value("")
    await expect(page.get_by_role("radio", name="All")).to_be_checked()


async def test_events_are_filtered_by_phase_and_score(
    open_page: OpenPage,
    create_event: CreateEvent,
    cancel_event: ChangeEvent,
    rate_by_many: RateByMany,
) -> None:
    high, low, cancelled = [await create_event(title="Filtered") for _ in range(3)]
    await rate_by_many(high.event_id, 5)
    await rate_by_many(low.event_id, 1)
    await cancel_event(cancelled.event_id)
    page = await open_page("/?q=Filtered")
    await expect(page.locator("article.card")).to_have_count(2)

    await page.get_by_role("combobox", name="Score", exact=True).select_option("Low score")
    await shows(page, low)

    await page.get_by_role("combobox", name="Score", exact=True).select_option("Any score")
    await page.get_by_text("Cancelled", exact=True).click()
    await shows(page, cancelled)
    await expect(page).to_have_url(re.compile(r"phase=cancelled"))

    await page.go_back()
    await shows(page, high, low)
    await expect(page.get_by_role("radio", name="Open")).to_be_checked()


async def test_events_are_ordered_as_chosen(
    open_page: OpenPage, create_event: CreateEvent, rate_by_many: RateByMany
) -> None:
    one, many, best = [await create_event(title="Ordered") for _ in range(3)]
    await rate_by_many(one.event_id, 4)
    await rate_by_many(many.event_id, 1, 2, 1, 2)
    await rate_by_many(best.event_id, 5, 5, 5)
    page = await open_page("/?q=Ordered")
    await expect(page.locator("article.card")).to_have_count(3)
    order = page.get_by_role("combobox", name="Sort by", exact=True)
    for choice, expected in (
        ("Most ratings", [many, best, one]),
        ("Best rated", [best, one, many]),
        ("Recently added", [best, many, one]),
    ):
        await order.select_option(choice)
        await shows(page, *expected)


async def test_a_view_is_shared_by_its_address(open_page: OpenPage, create_event: CreateEvent) -> None:
    event = await create_event(title="Shared")
    page = await open_page()
    await page.get_by_label("Search events").fill(event.title)
    await page.get_by_role("combobox", name="Sort by", exact=True).select_option("Recently added")
    await expect(page.locator("article.card")).to_have_count(1)
    other = await open_page(page.url)
    await expect(other.locator("article.card")).to_have_count(1)
    await expect(other.get_by_label("Search events")).to_have_value(event.title)
    await expect(other.get_by_role("combobox", name="Sort by", exact=True)).to_have_value("newest")


async def test_the_list_goes_on_as_the_reader_scrolls(rater: AsyncClient, open_page: OpenPage) -> None:
    page = await open_page("/?phase=all")
    await expect(page.locator("article.card").first).to_be_visible()
    everything = await listed_ids(rater, limit=1000)
    assert len(await shown_ids(page)) < len(everything)
    while await page.locator("#more").count():
        await page.keyboard.press("End")
    await expect(page.locator("article.card")).to_have_count(len(everything))
    assert await shown_ids(page) == everything


async def test_a_button_shows_more_if_scrolling_is_not_detected(rater: AsyncClient, open_page: OpenPage) -> None:
    async def disable_scroll_detection(page: Page) -> None:
        await page.add_init_script("window.IntersectionObserver = class { observe() {} disconnect() {} }")

    page = await open_page("/?phase=all", prepare=disable_scroll_detection)
    cards = page.locator("article.card")
    await expect(cards).to_have_count(24)
    await page.get_by_role("button", name="Show more").click()
    await expect(cards).to_have_count(48)


async def test_a_list_that_failed_to_load_can_be_retried(open_page: OpenPage) -> None:
    # Fails until the reader clicks, because the page also retries by itself.
    async def fail_until_click(route: Route) -> None:
        clicked = await route.request.frame.evaluate("window.clicked === true")
        await (route.continue_() if clicked else route.abort())

    async def break_the_list(page: Page) -> None:
        await page.add_init_script("addEventListener('click', () => { window.clicked = true; }, true)")
        await page.route("**/events?*", fail_until_click)

    page = await open_page(prepare=break_the_list, expected=("net::ERR_FAILED",))
    await expect(page.get_by_role("heading", name="Couldn’t load events")).to_be_visible()
    await page.get_by_role("button", name="Try again").click()
    await expect(page.locator("article.card").first).to_be_visible()


async def test_markup_in_a_title_is_shown_as_text(open_page: OpenPage, create_event: CreateEvent) -> None:
    event = await create_event(title="<img src=x onerror=alert(1)> & <b>friends</b>")
    page = await open_page()
    await page.get_by_label("Search events").fill(event.title)
    await shows(page, event)
    await expect(Card(page, event.event_id).root.get_by_role("heading")).to_have_text(event.title)
    await expect(Card(page, event.event_id).stars).to_have_attribute("aria-label", f"Your rating for {event.title}")
