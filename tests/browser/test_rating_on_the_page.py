"""Rating on the page: what a reader does, and what becomes of it."""

import asyncio
import json
from datetime import UTC, datetime, timedelta

import pytest
from httpx import AsyncClient
from playwright.async_api import Page, Route, expect

from devstack.system import System
from tests.browser.pages import AWAY, REFUSED, Card, ChangeEvent, CreateEvent, OpenPage, deafen


async def test_a_rating_is_pending_until_it_counts(
    system: System, open_page: OpenPage, create_event: CreateEvent
) -> None:
    event = await create_event()
    page = await open_page(event.path)
    card = Card(page, event.event_id)
    await card.shows_figures("–", "no ratings")
    await expect(card.outcome).to_have_text("Not rated by you yet")
    await expect(card.status).to_have_text("Not rated")

    await system.arq_worker.stop()
    await card.rate(4)
    await expect(card.outcome).to_have_text("Saved, being counted…")
    await card.shows_rating(4)
    await card.shows_figures("–", "no ratings")
    await system.arq_worker.start()

    await expect(card.outcome).to_have_text("Counted")
    await card.shows_figures("4.0", "1 rating")
    await expect(card.status).to_have_text("High score")
    await expect(card.bars).to_have_attribute("aria-label", "How it was rated: 1 rating of 4")
    await expect(page.get_by_role("status")).to_have_text(f"{event.title}: Counted")


async def test_a_rating_is_changed_and_withdrawn(open_page: OpenPage, create_event: CreateEvent) -> None:
    event = await create_event()
    page = await open_page(event.path)
    card = Card(page, event.event_id)
    await card.rate(5)
    await card.shows_figures("5.0", "1 rating")

    await card.rate(2)
    await card.shows_figures("2.0", "1 rating")
    await expect(card.outcome).to_have_text("Counted")
    await expect(card.status).to_have_text("Low score")

    await card.withdraw.click()
    await card.shows_figures("–", "no ratings")
    await expect(card.outcome).to_have_text("Withdrawn")
    await card.shows_rating(None)
    await expect(card.withdraw).to_have_count(0)


async def test_a_rating_is_still_the_readers_when_the_page_is_loaded_again(
    open_page: OpenPage, create_event: CreateEvent
) -> None:
    event = await create_event()
    page = await open_page(event.path)
    card = Card(page, event.event_id)
    await card.rate(3)
    await expect(card.outcome).to_have_text("Counted")
    await page.reload()
    await card.shows_rating(3)
    await expect(card.outcome).to_have_text("Counted")


async def test_the_last_of_several_quick_choices_is_the_rating(open_page: OpenPage, create_event: CreateEvent) -> None:
    event = await create_event()
    page = await open_page(event.path)
    card = Card(page, event.event_id)
    for value in (1, 5, 2, 4, 3):
        await card.rate(value)
    await expect(card.outcome).to_have_text("Counted")
    await card.shows_figures("3.0", "1 rating")
    await card.shows_rating(3)


async def test_what_the_service_refuses_is_explained_and_the_earlier_rating_stands_again(
    open_page: OpenPage, create_event: CreateEvent, close_event: ChangeEvent
) -> None:
    event = await create_event()
    page = await open_page(event.path, prepare=deafen, expected=(REFUSED,))
    card = Card(page, event.event_id)
    await card.rate(2)
    await expect(card.outcome).to_have_text("Counted")
    await close_event(event.event_id)

    await card.rate(5)
    await expect(card.outcome).to_have_text("Not accepted. The deadline has passed. Your rating of 2 stands.")
    await expect(card.outcome).to_have_attribute("data-kind", "bad")
    await card.shows_rating(2)
    await expect(page.get_by_role("status")).to_contain_text("Not accepted. The deadline has passed.")


async def test_a_rating_that_is_rejected_later_is_explained_and_the_earlier_one_stands_again(
    system: System, open_page: OpenPage, create_event: CreateEvent, cancel_event: ChangeEvent
) -> None:
    event = await create_event()
    page = await open_page(event.path, expected=(REFUSED,))
    card = Card(page, event.event_id)
    await card.rate(4)
    await expect(card.outcome).to_have_text("Counted")

    await system.arq_worker.stop()
    await card.rate(1)
    await expect(card.outcome).to_have_text("Saved, being counted…")
    await cancel_event(event.event_id)
    await system.arq_worker.start()

    await expect(card.outcome).to_have_text("Not counted: the event was cancelled. Your rating of 4 stands.")
    await card.shows_rating(4)
    await expect(card.phase).to_have_text("Cancelled")
    await card.shows_figures("4.0", "1 rating")


async def test_an_event_closes_under_the_readers_eyes_as_its_deadline_passes(
    open_page: OpenPage, create_event: CreateEvent
) -> None:
    event = await create_event(closes_in=timedelta(seconds=4))
    page = await open_page(event.path, prepare=deafen)
    card = Card(page, event.event_id)
    await expect(card.phase).to_have_text("Closed, result to be confirmed")
    await expect(card.star(5).locator("input")).to_be_disabled()
    await expect(card.outcome).to_have_text("Not rated by you")


async def test_a_reader_whose_clock_is_wrong_sees_deadlines_by_the_services_clock(
    open_page: OpenPage, create_event: CreateEvent
) -> None:
    event = await create_event(closes_in=timedelta(hours=1))

    async def be_a_day_ahead(page: Page) -> None:
        await page.clock.set_system_time(datetime.now(UTC) + timedelta(days=1))

    page = await open_page(event.path, prepare=be_a_day_ahead)
    card = Card(page, event.event_id)
    await expect(card.phase).to_contain_text("Closes in")
    await card.rate(5)
    await expect(card.outcome).to_have_text("Counted")


async def test_a_first_rating_whose_answer_is_lost_is_sent_again_and_counts_once(
    open_page: OpenPage, create_event: CreateEvent
) -> None:
    event = await create_event()
    lost = 0

    async def lose_the_first_answer(page: Page) -> None:
        async def relay(route: Route) -> None:
            nonlocal lost
            if lost:
                await route.continue_()
                return
            lost += 1
            # Not by the browser's own means, which would keep the cookie of an answer that it never gets.
            async with AsyncClient() as carrier:
                request = route.request
                answer = await carrier.post(
                    request.url, content=request.post_data_buffer, headers=await request.all_headers()
                )
            assert answer.is_success, answer.text
            await route.abort()

        await page.route("**/events/*/score", relay)

    page = await open_page(event.path, prepare=lose_the_first_answer, expected=(AWAY,))
    card = Card(page, event.event_id)
    await card.rate(5)
    await expect(card.outcome).to_have_text("Counted")
    await card.shows_figures("5.0", "1 rating")
    assert lost == 1


async def test_a_rating_given_without_connection_is_sent_once_there_is_one(
    open_page: OpenPage, create_event: CreateEvent
) -> None:
    event = await create_event()
    page = await open_page(event.path, expected=(AWAY,))
    card = Card(page, event.event_id)
    await expect(card.root).to_be_visible()
    await page.context.set_offline(True)
    await card.rate(4)
    await expect(card.outcome).to_contain_text("No connection. Trying again…")
    await card.shows_rating(4)
    await expect(page.get_by_text("You see what was loaded last")).to_be_visible()
    await page.context.set_offline(False)
    await expect(card.outcome).to_have_text("Counted")
    await expect(page.get_by_text("You see what was loaded last")).to_have_count(0)


@pytest.mark.parametrize(
    ("status", "name", "explanation"),
    [
        (503, "unavailable", "The service is busy just now. Trying again…"),
        (429, "too-many-requests", "That was too much at once. Trying again…"),
    ],
)
async def test_a_rating_that_is_turned_away_is_sent_again(
    open_page: OpenPage, create_event: CreateEvent, status: int, name: str, explanation: str
) -> None:
    event = await create_event()
    turned_away = asyncio.Event()

    async def turn_away(page: Page) -> None:
        async def answer(route: Route) -> None:
            if turned_away.is_set():
                await route.continue_()
                return
            problem = {"type": f"/problems/{name}", "title": "No", "status": status, "detail": "Not now."}
            headers = {"Content-Type": "application/problem+json", "Retry-After": "3600"}
            await route.fulfill(status=status, headers=headers, body=json.dumps(problem))

        await page.route("**/events/*/score", answer)

    page = await open_page(event.path, prepare=turn_away, expected=(AWAY, REFUSED))
    card = Card(page, event.event_id)
    await card.rate(4)
    await expect(card.outcome).to_contain_text(explanation)
    turned_away.set()
    await card.root.get_by_role("button", name="Try now").click()
    await expect(card.outcome).to_have_text("Counted")
