"""Without a browser all of these tests are skipped, and the end of pytest's output says so and why."""

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

WHY_SKIPPED = "there is no Chromium here, and it cannot be installed unasked (see devstack/browser.py)"

# Only bounds how long a failing test takes to say so.
expect.set_options(timeout=40_000)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if installed_browser() is None:
        for item in items:
            if "browser" in getattr(item, "fixturenames", ()):
                item.add_marker(pytest.mark.skip(reason=WHY_SKIPPED))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    skipped = [report for report in terminalreporter.getreports("skipped") if WHY_SKIPPED in str(report.longrepr)]
    if skipped:
        terminalreporter.section("THE PAGE WAS NOT TESTED", yellow=True, bold=True)
        terminalreporter.line(f"{len(skipped)} tests in tests/browser were skipped: {WHY_SKIPPED}.")


@pytest.fixture(scope="session")
async def browser() -> AsyncIterator[Browser]:
    # Chromium's sandbox does not work for root.
    arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=installed_browser(), args=arguments)
        yield browser
        await browser.close()


@pytest.fixture
async def open_page(browser: Browser, system: System) -> AsyncIterator[OpenPage]:
    """Opens the page as a reader who was never here; `context` is what Playwright's contexts take, and `prepare` is
    given the page before it loads.

    At the end of the test no page may have complained in its console or asked anything of another host, but for
    complaints that are `expected` (patterns).
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
    """Creates an event with a title of its own, and returns once score_maker lists it."""

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
    """Moves an event's deadline into the past, so little that its result is not made final while the test looks."""

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
    """Rates an event, each value by a rater of its own, and returns once all of that counts."""

    async def rate(event_id: int, *values: int) -> None:
        async with AsyncClient(base_url=system.http_url) as client:
            for value in values:
                token = (await client.post("/raters")).json()["token"]
                headers = {"Authorization": f"Bearer {token}"}
                response = await client.post(f"/events/{event_id}/score", json={"score": value}, headers=headers)
                assert response.is_success, response.text

            async def all_count() -> bool:
                return bool((await client.get(f"/events/{event_id}")).json()["score_count"] == len(values))

            await eventually(all_count)

    return rate
