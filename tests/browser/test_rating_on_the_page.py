"""Rating on the page, from the first click to the verdict."""

import asyncio
import json
from datetime import UTC, datetime, timedelta

import pytest
from httpx import AsyncClient
from playwright.async_api import Page, Route, expect

from devstack.system import System
from tests.browser.pages import REFUSED, UNREACHABLE, Card, ChangeEvent, CreateEvent, OpenPage, block_stream


async def test_a_rating_is_pending_until_it_counts(
    system: System, open_page: OpenPage, create_event: CreateEvent
) -> None:
    event = await create_event()
    page = await open_page(event.path)
    card = Card(page, event.event_id)
    await card.shows_figures("–", "no ratings")
    await expect(card.outcome).to_have_text("Select a star to rate")
    await expect(card.status).to_have_text("No ratings")

    await system.arq_worker.stop()
    await card.rate(4)
    await expect(card.outcome).to_have_text("Saved, being counted…")
    await card.shows_rating(4)
    await card.shows_figures("–", "no ratings")
    await system.arq_worker.start()

    await expect(card.outcome).to_have_text("Your rating counts")
    await card.shows_figures("4.0", "1 rating")
    await expect(card.status).to_have_text("High score")
    await expect(card.bars).to_have_attribute("aria-label", "Ratings by stars. 4 stars: 1 rating")
    await expect(page.get_by_role("status")).to_have_text(f"{event.title}: Your rating counts")


async def test_a_rating_is_changed_and_withdrawn(open_page: OpenPage, create_event: CreateEvent) -> None:
    event = await create_event()
    page = await open_page(event.path)
    card = Card(page, event.event_id)
    await card.rate(5)
    await card.shows_figures("5.0", "1 rating")

    await card.rate(2)
    await card.shows_figures("2.0", "1 rating")
    await expect(card.outcome).to_have_text("Your rating counts")
    await expect(card.status).to_have_text("Low score")

    await card.withdraw.click()
    await card.shows_figures("–", "no ratings")
    await expect(card.outcome).to_have_text("Rating removed")
    await card.shows_rating(None)
    await expect(card.withdraw).to_have_count(0)


async def test_a_rating_is_still_the_readers_when_the_page_is_loaded_again(
    open_page: OpenPage, create_event: CreateEvent
) -> None:
    event = await create_event()
    page = await open_page(event.path)
    card = Card(page, event.event_id)
    await card.rate(3)
    await expect(card.outcome).to_have_text("Your rating counts")
    await page.reload()
    await card.shows_rating(3)
    await expect(card.outcome).to_have_text("Your rating counts")


async def test_the_last_of_several_quick_choices_is_the_rating(open_page: OpenPage, create_event: CreateEvent) -> None:
    event = await create_event()
    page = await open_page(event.path)
    card = Card(page, event.event_id)
    for value in (1, 5, 2, 4, 3):
        await card.rate(value)
    await expect(card.outcome).to_have_text("Your rating counts")
    await card.shows_figures("3.0", "1 rating")
    await card.shows_rating(3)


async def test_a_refused_rating_is_explained_and_the_earlier_one_is_shown_again(
    open_page: OpenPage, create_event: CreateEvent, close_event: ChangeEvent
) -> None:
    event = await create_event()
    page = await open_page(event.path, prepare=block_stream, expected=(REFUSED,))
    card = Card(page, event.event_id)
    await card.rate(2)
    await expect(card.outcome).to_have_text("Your rating counts")
    await close_event(event.event_id)

    await card.rate(5)
    await expect(card.outcome).to_have_text(
        "Couldn’t save your rating. Rating has closed. Your earlier rating of 2 still counts."
    )
    await expect(card.outcome).to_have_attribute("data-kind", "bad")
    await card.shows_rating(2)
    await expect(page.get_by_role("status")).to_contain_text("Couldn’t save your rating. Rating has closed.")


async def test_a_rating_that_is_rejected_later_is_explained_and_the_earlier_one_is_shown_again(
    system: System, open_page: OpenPage, create_event: CreateEvent, cancel_event: ChangeEvent
) -> None:
    event = await create_event()
    page = await open_page(event.path, expected=(REFUSED,))
    card = Card(page, event.event_id)
    await card.rate(4)
    await expect(card.outcome).to_have_text("Your rating counts")

    await system.arq_worker.stop()
    await card.rate(1)
    await expect(card.outcome).to_have_text("Saved, being counted…")
    await cancel_event(event.event_id)
    await system.arq_worker.start()

    await expect(card.outcome).to_have_text(
        "Your rating was not counted: the event was cancelled. Your earlier rating of 4 still counts."
    )
    await card.shows_rating(4)
    await expect(card.phase).to_have_text("Cancelled")
    await card.shows_figures("4.0", "1 rating")


async def test_an_open_page_closes_an_event_when_its_deadline_passes(
    open_page: OpenPage, create_event: CreateEvent
) -> None:
    event = await create_event(closes_in=timedelta(seconds=4))
    page = await open_page(event.path, prepare=block_stream)
    card = Card(page, event.event_id)
    await expect(card.phase).to_have_text("Closed, result pending")
    await expect(card.star(5).locator("input")).to_be_disabled()
    await expect(card.outcome).to_have_text("You didn’t rate this")


async def test_deadlines_follow_the_services_clock_if_the_readers_is_wrong(
    open_page: OpenPage, create_event: CreateEvent
) -> None:
    event = await create_event(closes_in=timedelta(hours=1))

    async def set_clock_a_day_ahead(page: Page) -> None:
        await page.clock.set_system_time(datetime.now(UTC) + timedelta(days=1))

    page = await open_page(event.path, prepare=set_clock_a_day_ahead)
    card = Card(page, event.event_id)
    await expect(card.phase).to_contain_text("Closes in")
    await card.rate(5)
    await expect(card.outcome).to_have_text("Your rating counts")


async def test_a_first_rating_whose_response_is_lost_is_retried_and_counts_once(
    open_page: OpenPage, create_event: CreateEvent
) -> None:
    event = await create_event()
    lost = 0

    async def lose_the_first_response(page: Page) -> None:
        async def relay(route: Route) -> None:
            nonlocal lost
            if lost:
                await route.continue_()
                return
            lost += 1
            # Not sent by the browser, which would keep the cookie of a response that it must never receive.
            async with AsyncClient() as carrier:
                request = route.request
                response = await carrier.post(
                    request.url, content=request.post_data_buffer, headers=await request.all_headers()
                )
            assert response.is_success, response.text
            await route.abort()

        await page.route("**/events/*/score", relay)

    page = await open_page(event.path, prepare=lose_the_first_response, expected=(UNREACHABLE,))
    card = Card(page, event.event_id)
    await card.rate(5)
    await expect(card.outcome).to_have_text("Your rating counts")
    await card.shows_figures("5.0", "1 rating")
    assert lost == 1


async def test_a_rating_made_offline_is_sent_after_reconnecting(open_page: OpenPage, create_event: CreateEvent) -> None:
    event = await create_event()
    page = await open_page(event.path, expected=(UNREACHABLE,))
    card = Card(page, event.event_id)
    await expect(card.root).to_be_visible()
    await page.context.set_offline(True)
    await card.rate(4)
    await expect(card.outcome).to_contain_text("No connection. Trying again…")
    await card.shows_rating(4)
    await expect(page.get_by_text("These are the last results we loaded")).to_be_visible()
    await page.context.set_offline(False)
    await expect(card.outcome).to_have_text("Your rating counts")
    await expect(page.get_by_text("These are the last results we loaded")).to_have_count(0)


@pytest.mark.parametrize(
    ("status", "name", "explanation"),
    [
        (503, "unavailable", "The service is unavailable right now. Trying again…"),
        (429, "too-many-requests", "Too many requests at once. Please wait a moment. Trying again…"),
    ],
)
async def test_a_rating_is_retried_after_a_transient_problem(
    open_page: OpenPage, create_event: CreateEvent, status: int, name: str, explanation: str
) -> None:
    event = await create_event()
    is_available = asyncio.Event()

    async def refuse(page: Page) -> None:
        async def answer(route: Route) -> None:
            if is_available.is_set():
                await route.continue_()
                return
            problem = {"type": f"/problems/{name}", "title": "No", "status": status, "detail": "Not now."}
            headers = {"Content-Type": "application/problem+json", "Retry-After": "3600"}
            await route.fulfill(status=status, headers=headers, body=json.dumps(problem))

        await page.route("**/events/*/score", answer)

    page = await open_page(event.path, prepare=refuse, expected=(UNREACHABLE, REFUSED))
    card = Card(page, event.event_id)
    await card.rate(4)
    await expect(card.outcome).to_contain_text(explanation)
    is_available.set()
    await card.root.get_by_role("button", name="Retry now").click()
    await expect(card.outcome).to_have_text("Your rating counts")
