"""The page as a reader sees it, and what its tests ask of their fixtures."""

import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Protocol

from playwright.async_api import ConsoleMessage, Locator, Page, Request, Route, expect

# What Chromium's console says of answers that refuse, and of requests that find nobody.
REFUSED = r"status of 4(09|10|29)"
AWAY = r"net::ERR_|status of 503"

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
        """The page with this event alone."""
        return f"/?phase=all&q={self.title.replace(' ', '+')}"


class RateByMany(Protocol):
    def __call__(self, event_id: int, *values: int) -> Awaitable[None]: ...


class CreateEvent(Protocol):
    def __call__(self, *, closes_in: timedelta = ..., title: str = ...) -> Awaitable[NewEvent]: ...


@dataclass
class Watched:
    """What a page says in its console and asks of other hosts, which is nothing where all is well."""

    origin: str
    expected: tuple[str, ...]
    complaints: list[str] = field(default_factory=list)

    def follow(self, page: Page) -> None:
        page.on("console", self._on_console)
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("request", self._on_request)

    def check(self) -> None:
        unexpected = [
            complaint
            for complaint in self.complaints
            if not any(re.search(pattern, complaint) for pattern in self.expected)
        ]
        if unexpected:
            raise AssertionError("\n".join(unexpected))

    def _on_console(self, message: ConsoleMessage) -> None:
        if message.type in {"error", "warning"}:
            self.complaints.append(f"{message.text} ({message.location.get('url')})")

    def _on_request(self, request: Request) -> None:
        if not request.url.startswith((self.origin, "data:")):
            self.complaints.append(f"a request to {request.url}")


class Card:
    """An event's card; each `shows_...` waits until it does."""

    def __init__(self, page: Page, event_id: int) -> None:
        self.root = page.locator(f'article[data-event="{event_id}"]')
        self.average = self.root.locator(".average .number")
        self.count = self.root.locator(".average .count")
        self.status = self.root.locator(".status")
        self.phase = self.root.locator(".phase")
        self.outcome = self.root.locator(".outcome")
        self.stars = self.root.get_by_role("radiogroup")
        self.withdraw = self.root.get_by_role("button", name="Withdraw")
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


async def deafen(page: Page) -> None:
    """Keeps changes of events from the page: its stream never opens."""

    async def never(route: Route) -> None:
        pass

    await page.route("**/events/stream*", never)


async def message_keys(page: Page) -> tuple[list[str], list[str]]:
    """The keys of the page's English messages, and those of the Russian ones."""
    english, russian = await page.evaluate("""async () => {
        const base = document.querySelector('script[type=module]').src.replace('main.js', 'messages/');
        const keys = async (language) => Object.keys((await import(`${base}${language}.js`)).default).sort();
        return [await keys('en'), await keys('ru')];
    }""")
    return english, russian
