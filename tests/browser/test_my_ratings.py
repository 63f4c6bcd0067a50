"""A reader's own ratings on the page, and how to be forgotten."""

from playwright.async_api import expect

from tests.browser.pages import REFUSED, Card, ChangeEvent, CreateEvent, OpenPage, deafen


async def test_my_ratings_are_listed_latest_first_with_what_became_of_them(
    open_page: OpenPage, create_event: CreateEvent, close_event: ChangeEvent
) -> None:
    first, second, third = [await create_event(title="Mine") for _ in range(3)]
    page = await open_page("/?q=Mine", prepare=deafen, expected=(REFUSED,))
    for event, value in ((first, 2), (second, 3), (third, 5)):
        await Card(page, event.event_id).rate(value)
        await expect(Card(page, event.event_id).outcome).to_have_text("Counted")
    await Card(page, third.event_id).withdraw.click()
    await expect(Card(page, third.event_id).outcome).to_have_text("Withdrawn")
    await close_event(first.event_id)

    await page.get_by_role("link", name="My ratings").click()
    await expect(page.get_by_role("heading", name="My ratings")).to_be_visible()
    await expect(page.locator("article.card")).to_have_count(3)
    shown = await page.locator("article.card").evaluate_all("cards => cards.map(card => Number(card.dataset.event))")
    assert shown == [third.event_id, second.event_id, first.event_id]
    await expect(Card(page, third.event_id).outcome).to_have_text("Withdrawn")
    await Card(page, second.event_id).shows_rating(3)
    await expect(Card(page, first.event_id).phase).to_have_text("Closed, result to be confirmed")

    await Card(page, second.event_id).rate(4)
    await expect(Card(page, second.event_id).outcome).to_have_text("Counted")
    await page.reload()
    await Card(page, second.event_id).shows_rating(4)


async def test_a_reader_without_ratings_is_told_so(open_page: OpenPage) -> None:
    page = await open_page("/?page=mine")
    await expect(page.get_by_role("heading", name="You have not rated anything yet")).to_be_visible()
    await page.get_by_role("button", name="See open events").click()
    await expect(page.locator("article.card").first).to_be_visible()


async def test_a_reader_can_be_forgotten_and_start_anew(open_page: OpenPage, create_event: CreateEvent) -> None:
    event = await create_event()
    page, other = await open_page(event.path), await open_page(event.path)
    card, seen = Card(page, event.event_id), Card(other, event.event_id)
    await card.rate(5)
    await seen.shows_figures("5.0", "1 rating")
    await page.get_by_role("link", name="My ratings").click()
    await page.get_by_role("button", name="Delete my ratings").click()
    dialog = page.get_by_role("dialog")

    await dialog.get_by_role("button", name="Keep them").click()
    await expect(dialog).to_be_hidden()
    await card.shows_rating(5)

    await page.get_by_role("button", name="Delete my ratings").click()
    await dialog.get_by_role("button", name="Delete them all").click()
    await expect(page.get_by_role("heading", name="You have not rated anything yet")).to_be_visible()
    await seen.shows_figures("–", "no ratings")

    await page.goto(event.path)
    await card.shows_rating(None)
    await expect(card.outcome).to_have_text("Not rated by you yet")
    await card.rate(3)
    await seen.shows_figures("3.0", "1 rating")
