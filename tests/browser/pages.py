"""Page objects of the browser tests, and the types of their fixtures."""

import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Protocol

from playwright.async_api import ConsoleMessage, Locator, Page, Request, Route, expect

# What Chromium logs in its console for responses that refuse a request, and for requests without a response.
REFUSED = r"status of 4(09|10|29)"
UNREACHABLE = r"net::ERR_|status of 503"

ChangeEvent = Callable[[int], Awaitable[None]]


class OpenPage(Protocol):
    def __call__(
        self,
        path: str = "/",
        *,
        prepare: Callable[[Page], Awaitable[None]] | None = None,
        expected: tuple[str, ...] = (),
        **context: Any,
    ) -> Awaitable[Page]: ...


@dataclass(frozen=True)
class NewEvent:
    event_id: int
    title: str

    @property
    def path(self) -> str:
        """The address of the page that shows this event alone."""
        return f"/?phase=all&q={self.title.replace(' ', '+')}"


class RateByMany(Protocol):
    def __call__(self, event_id: int, *values: int) -> Awaitable[None]: ...


class CreateEvent(Protocol):
    def __call__(self, *, closes_in: timedelta = ..., title: str = ...) -> Awaitable[NewEvent]: ...


@dataclass
class Watched:
    """Collects a page's errors and warnings in the console and its requests to other hosts. A sound page has none."""

    origin: str
    expected: tuple[str, ...]
    findings: list[str] = field(default_factory=list)

    def follow(self, page: Page) -> None:
        page.on("console", self._on_console)
        page.on("pageerror", lambda error: self.findings.append(str(error)))
        page.on("request", self._on_request)

    def check(self) -> None:
        """Raises AssertionError if a finding was not expected."""
        unexpected = [
            finding for finding in self.findings if not any(re.search(pattern, finding) for pattern in self.expected)
        ]
        if unexpected:
            raise AssertionError("\n".join(unexpected))

    def _on_console(self, message: ConsoleMessage) -> None:
        if message.type in {"error", "warning"}:
            self.findings.append(f"{message.text} ({message.location.get('url')})")

    def _on_request(self, request: Request) -> None:
        if not request.url.startswith((self.origin, "data:")):
            self.findings.append(f"a request to {request.url}")


class Card:
    """An event's card. Each `shows_...` waits until the card shows that."""

    def __init__(self, page: Page, event_id: int) -> None:
        self.root = page.locator(f'article[data-event="{event_id}"]')
        self.average = self.root.locator(".average .number")
        self.count = self.root.locator(".average .count")
        self.status = self.root.locator(".status")
        self.phase = self.root.locator(".phase")
        self.outcome = self.root.locator(".outcome")
        self.stars = self.root.get_by_role("radiogroup")
        self.withdraw = self.root.get_by_role("button", name="Remove rating")
        self.bars = self.root.locator(".histogram")

    def star(self, value: int) -> Locator:
        return self.stars.locator(".star").nth(value - 1)

    async def rate(self, value: int) -> None:
        await self.star(value).click()

    async def shows_rating(self, value: int | None) -> None:
        chosen = self.stars.locator("input:checked")
        if value is None:
            await expect(chosen).to_have_count(0)
        else:
            await expect(chosen).to_have_attribute("value", str(value))

    async def shows_figures(self, average: str, count: str) -> None:
        await expect(self.average).to_have_text(average)
        await expect(self.count).to_have_text(count)


async def block_stream(page: Page) -> None:
    """Keeps the page from receiving changes of events: its stream never opens."""

    async def never(route: Route) -> None:
        pass

    await page.route("**/events/stream*", never)
