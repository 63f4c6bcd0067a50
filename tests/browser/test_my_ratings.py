"""A reader's own ratings on the page, and their erasure."""

from playwright.async_api import expect

from tests.browser.pages import REFUSED, Card, ChangeEvent, CreateEvent, OpenPage, block_stream


async def test_my_ratings_are_listed_newest_first_with_their_state(
    open_page: OpenPage, create_event: CreateEvent, close_event: ChangeEvent
) -> None:
    first, second, third = [await create_event(title="Mine") for _ in range(3)]
    page = await open_page("/?q=Mine", prepare=block_stream, expected=(REFUSED,))
    for event, value in ((first, 2), (second, 3), (third, 5)):
        await Card(page, event.event_id).rate(value)
        await expect(Card(page, event.event_id).outcome).to_have_text("Your rating counts")
    await Card(page, third.event_id).withdraw.click()
    await expect(Card(page, third.event_id).outcome).to_have_text("Rating removed")
    await close_event(first.event_id)

    await page.get_by_role("link", name="My ratings").click()
    await expect(page.get_by_role("heading", name="My ratings")).to_be_visible()
    await expect(page.locator("article.card")).to_have_count(3)
    shown = await page.locator("article.card").evaluate_all("cards => cards.map(card => Number(card.dataset.event))")
    assert shown == [third.event_id, second.event_id, first.event_id]
    await expect(Card(page, third.event_id).outcome).to_have_text("Rating removed")
    await Card(page, second.event_id).shows_rating(3)
    await expect(Card(page, first.event_id).phase).to_have_text("Closed, result pending")

    await Card(page, second.event_id).rate(4)
    await expect(Card(page, second.event_id).outcome).to_have_text("Your rating counts")
    await page.reload()
    await Card(page, second.event_id).shows_rating(4)


async def test_a_reader_without_ratings_is_sent_to_the_open_events(open_page: OpenPage) -> None:
    page = await open_page("/?page=mine")
    await expect(page.get_by_role("heading", name="You haven’t rated anything yet")).to_be_visible()
    await page.get_by_role("button", name="See open events").click()
    await expect(page.locator("article.card").first).to_be_visible()


async def test_a_reader_can_erase_all_ratings_and_rate_again(open_page: OpenPage, create_event: CreateEvent) -> None:
    event = await create_event()
    page, other = await open_page(event.path), await open_page(event.path)
    card, seen = Card(page, event.event_id), Card(other, event.event_id)
    await card.rate(5)
    await seen.shows_figures("5.0", "1 rating")
    await page.get_by_role("link", name="My ratings").click()
    await page.get_by_role("button", name="Delete my ratings").click()
    dialog = page.get_by_role("dialog")

    await dialog.get_by_role("button", name="Keep my ratings").click()
    await expect(dialog).to_be_hidden()
    await card.shows_rating(5)

    await page.get_by_role("button", name="Delete my ratings").click()
    await dialog.get_by_role("button", name="Delete all my ratings").click()
    await expect(page.get_by_role("heading", name="You haven’t rated anything yet")).to_be_visible()
    await seen.shows_figures("–", "no ratings")

    await page.goto(event.path)
    await card.shows_rating(None)
    await expect(card.outcome).to_have_text("Select a star to rate")
    await card.rate(3)
    await seen.shows_figures("3.0", "1 rating")
