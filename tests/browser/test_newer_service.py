"""Pages that a newer service answers: values that they do not know become generic sentences, never keys or blanks."""

import json
import re
from typing import Any

import pytest
from playwright.async_api import Page, Route, expect

from devstack.system import System
from tests.browser.pages import REFUSED, Card, CreateEvent, OpenPage, block_stream

MY_SCORE = {"score": None, "confirmed_score": None, "version": 1, "reason": None, "state": "confirmed"}


def with_each_event(**changes: Any) -> Any:
    """Prepares a page whose lists have events that differ by these fields."""

    async def prepare(page: Page) -> None:
        await block_stream(page)

        async def change(route: Route) -> None:
            response = await route.fetch()
            document = await response.json()
            document["events"] = [event | changes for event in document["events"]]
            await route.fulfill(response=response, json=document)

        await page.route("**/events?*", change)

    return prepare


@pytest.mark.parametrize(("locale", "words"), [("en-GB", "Not open for rating"), ("ru-RU", "Сейчас оценить нельзя")])
async def test_an_event_of_an_unknown_phase_and_status_is_shown_and_cannot_be_rated(
    open_page: OpenPage, create_event: CreateEvent, locale: str, words: str
) -> None:
    event = await create_event()
    page = await open_page(
        event.path, locale=locale, prepare=with_each_event(phase="upcoming", status="MIDDLING_SCORE")
    )
    card = Card(page, event.event_id)
    await expect(card.phase).to_have_text(words)
    await expect(card.status).to_have_count(0)
    await expect(card.root.get_by_role("heading")).to_have_text(event.title)
    await expect(card.star(1).locator("input")).to_be_disabled()


@pytest.mark.parametrize(
    ("locale", "state", "words"),
    [
        ("en-GB", "rejected", "Your rating was not counted: it could not be accepted. You have no rating here."),
        ("ru-RU", "rejected", "Оценка не учтена: её не удалось принять. Вашей оценки здесь нет."),
        ("en-GB", "set_aside", "Reload the page to see what became of your rating."),
        ("ru-RU", "set_aside", "Обновите страницу, чтобы узнать, что стало с вашей оценкой."),
    ],
)
async def test_an_unknown_reason_or_state_of_a_score_is_a_generic_sentence(
    open_page: OpenPage, create_event: CreateEvent, locale: str, state: str, words: str
) -> None:
    event = await create_event()
    score = MY_SCORE | {"event_id": event.event_id, "state": state, "reason": "not_admitted"}
    page = await open_page(event.path, locale=locale, prepare=with_each_event(my_score=score))
    await expect(Card(page, event.event_id).outcome).to_have_text(words)


@pytest.mark.parametrize(
    ("locale", "words"),
    [
        (
            "en-GB",
            "Couldn’t save your rating. That didn’t work. Reload the page and try again. You have no rating here.",
        ),
        (
            "ru-RU",
            (
                "Не удалось сохранить оценку. Не получилось. Обновите страницу и попробуйте ещё раз. "
                "Вашей оценки здесь нет."
            ),
        ),
    ],
)
async def test_an_unknown_problem_is_a_generic_sentence(
    open_page: OpenPage, create_event: CreateEvent, locale: str, words: str
) -> None:
    event = await create_event()
    problem = {"type": "/problems/not-admitted", "title": "Not admitted", "status": 409, "detail": "Use a ballot code."}

    async def refuse(page: Page) -> None:
        content_type = "application/problem+json"
        await page.route(
            "**/events/*/score",
            lambda route: route.fulfill(status=409, content_type=content_type, body=json.dumps(problem)),
        )

    page = await open_page(event.path, locale=locale, prepare=refuse, expected=(REFUSED,))
    card = Card(page, event.event_id)
    await card.rate(4)
    await expect(card.outcome).to_have_text(words)
    await card.shows_rating(None)


async def test_unknown_verdicts_and_states_of_services_are_shown_to_operators(
    system: System, open_page: OpenPage
) -> None:
    verdicts = [
        {"verdict": "set_aside", "reason": None, "last_minute": 1, "last_hour": 2},
        {"verdict": "rejected", "reason": "not_admitted", "last_minute": 3, "last_hour": 4},
    ]

    async def change_saga(page: Page) -> None:
        async def change(route: Route) -> None:
            response = await route.fetch()
            document = await response.json()
            document["throughput"]["verdicts"] = verdicts
            document["services"]["line_provider"] = "draining"
            await route.fulfill(response=response, json=document)

        await page.route("**/ops/saga", change)

    page = await open_page("/ops", prepare=change_saga)
    await page.locator(".sign-in input").fill(system.operators_token)
    await page.locator(".sign-in button").click()
    await expect(page.get_by_role("row", name="Other (set_aside) 1 2")).to_be_visible()
    await expect(page.get_by_role("row", name="Rejected: other reason (not_admitted) 3 4")).to_be_visible()
    service = page.locator('[data-service="line_provider"]')
    await expect(service).to_have_text(re.compile(r"line_provider\s+reports “draining”"))
