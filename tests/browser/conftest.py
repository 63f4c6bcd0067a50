"""Fixtures of the browser tests.

Without a browser all of these tests are skipped; tests/support/skips.py lists them at the end of the run, and fails
them under CI.
"""

import os
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from httpx import AsyncClient
from playwright.async_api import Browser, Page, async_playwright, expect

from devstack.browser import installed_browser
from devstack.system import System
from scoreline.line_provider.v1 import events_pb2
from tests.browser.pages import ChangeEvent, CreateEvent, NewEvent, OpenPage, RateByMany, Watched
from tests.support.waiting import eventually

if TYPE_CHECKING:
    from scoreline.line_provider.v1.events_pb2_grpc import EventServiceAsyncStub

Metadata = tuple[tuple[str, str], ...]

WHY_SKIPPED = "there is no Chromium, and it can be installed automatically only on Debian as root (devstack/browser.py)"

# Generous for a busy machine: only a failing test waits for so long.
expect.set_options(timeout=40_000)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if installed_browser() is None:
        for item in items:
            if "browser" in getattr(item, "fixturenames", ()):
                item.add_marker(pytest.mark.skip(reason=WHY_SKIPPED))


@pytest.fixture(scope="session")
async def browser() -> AsyncIterator[Browser]:
    # Chromium refuses to run as root with its sandbox.
    arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=installed_browser(), args=arguments)
        yield browser
        await browser.close()


@pytest.fixture
async def open_page(browser: Browser, system: System) -> AsyncIterator[OpenPage]:
    """Opens the page as a new reader; other options are those of Playwright's contexts, and `prepare` is called with
    the page before it loads.

    Fails the test at its end if a page has logged an error or a warning in its console, or has sent a request to
    another host. Messages that match a pattern of `expected` are allowed.
    """
    contexts, watches = [], []

    async def open_(
        path: str = "/",
        *,
        prepare: Callable[[Page], Awaitable[None]] | None = None,
        expected: tuple[str, ...] = (),
        **options: Any,
    ) -> Page:
        context = await browser.new_context(**{"base_url": system.http_url, "locale": "en-GB", **options})
        contexts.append(context)
        watched = Watched(options.get("base_url", system.http_url), expected)
        watches.append(watched)
        page = await context.new_page()
        watched.follow(page)
        if prepare is not None:
            await prepare(page)
        await page.goto(path)
        return page

    yield open_
    for context in contexts:
        await context.close()
    for watched in watches:
        watched.check()


@pytest.fixture
def create_event(organiser: "EventServiceAsyncStub", admin: Metadata, rater: AsyncClient) -> CreateEvent:
    """Creates an event with a unique title, and returns once score_maker lists it."""

    async def create(*, closes_in: timedelta = timedelta(hours=1), title: str = "Opening night") -> NewEvent:
        now = datetime.now(UTC)
        request = events_pb2.CreateEventRequest(title=f"{title} {secrets.token_hex(4)}")
        request.starts_at.FromDatetime(now - timedelta(hours=2))
        request.deadline.FromDatetime(now + closes_in)
        event_id = (await organiser.CreateEvent(request, metadata=admin)).event.event_id

        async def is_listed() -> bool:
            listed = (await rater.get("/events", params={"q": request.title})).json()["events"]
            return len(listed) == 1

        await eventually(is_listed)
        return NewEvent(event_id, request.title)

    return create


@pytest.fixture
def close_event(organiser: "EventServiceAsyncStub", admin: Metadata) -> ChangeEvent:
    """Moves an event's deadline into the past, by so little that the event is not finalized during the test."""

    async def close(event_id: int) -> None:
        request = events_pb2.UpdateEventRequest(event_id=event_id)
        request.deadline.FromDatetime(datetime.now(UTC) - timedelta(seconds=1))
        request.update_mask.paths.append("deadline")
        await organiser.UpdateEvent(request, metadata=admin)

    return close


@pytest.fixture
def cancel_event(organiser: "EventServiceAsyncStub", admin: Metadata) -> ChangeEvent:
    async def cancel(event_id: int) -> None:
        await organiser.CancelEvent(events_pb2.CancelEventRequest(event_id=event_id), metadata=admin)

    return cancel


@pytest.fixture
def rate_by_many(system: System) -> RateByMany:
    """Rates an event, each value by another rater, and returns once all ratings count."""

    async def rate(event_id: int, *values: int) -> None:
        async with AsyncClient(base_url=system.http_url) as client:
            for value in values:
                token = (await client.post("/raters")).json()["token"]
                headers = {"Authorization": f"Bearer {token}"}
                response = await client.post(f"/events/{event_id}/score", json={"score": value}, headers=headers)
                assert response.is_success, response.text

            async def all_are_counted() -> bool:
                return bool((await client.get(f"/events/{event_id}")).json()["score_count"] == len(values))

            await eventually(all_are_counted)

    return rate
