"""The operators' page: signing in, the live saga, retrying stuck messages, and managing events."""

import re
import secrets
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from axe_playwright_python.async_playwright import Axe
from httpx import AsyncClient
from playwright.async_api import FilePayload, Page, expect
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from devstack.system import System
from scoreline.line_provider.v1 import events_pb2
from tests.browser.pages import UNREACHABLE, ChangeEvent, CreateEvent, OpenPage
from tests.support.waiting import eventually

if TYPE_CHECKING:
    from scoreline.line_provider.v1.events_pb2_grpc import EventServiceAsyncStub

Settled = Callable[[], Awaitable[None]]
OpenOps = Callable[..., Awaitable[Page]]

PHONE: dict[str, Any] = {"viewport": {"width": 360, "height": 740}, "is_mobile": True, "has_touch": True}
UNAUTHORIZED = r"status of 401"
REFUSED = r"status of (409|422)"

TOKEN_REFUSED = "This token was not accepted. Did you copy all of it?"


@pytest.fixture
def open_ops(system: System, open_page: OpenPage) -> OpenOps:
    """Opens the page and signs in as an operator; takes the arguments of `open_page`."""

    async def open_(path: str = "/ops", **options: Any) -> Page:
        page = await open_page(path, **options)
        await page.locator(".sign-in input").fill(system.operators_token)
        await page.locator(".sign-in button").click()
        await expect(page.locator(".sign-in")).to_have_count(0)
        return page

    return open_


def figure(page: Page, name: str) -> Any:
    return page.locator(f'[data-figure="{name}"] .number')


def row(page: Page, event_id: int) -> Any:
    return page.locator(f'.row[data-event="{event_id}"]')


async def rate(rater: AsyncClient, event_id: int, count: int = 1) -> None:
    """Rates the event by `count` new raters."""
    for _ in range(count):
        rater.cookies.clear()
        assert (await rater.post(f"/events/{event_id}/score", json={"score": 4})).status_code == 202


async def assert_accessible(page: Page) -> None:
    results = await Axe().run(page)
    assert results.violations_count == 0, results.generate_report()


async def find(page: Page, title: str, *, count: int = 1) -> None:
    """Searches for the title, and returns once the list shows `count` events."""
    await page.get_by_role("link", name="Events", exact=True).click()
    await page.get_by_label("Search events").fill(title)
    await expect(page.locator(".row[data-event]")).to_have_count(count)


async def test_only_the_token_opens_the_page_and_it_stays_open_until_the_operator_signs_out(
    system: System, open_page: OpenPage
) -> None:
    page = await open_page("/ops", expected=(UNAUTHORIZED,))
    await expect(page.get_by_role("heading", name="Operations")).to_be_visible()
    token = page.get_by_label("Operators’ token")
    await expect(token).to_be_focused()
    for wrong in ("not-the-token-of-the-operators", "не тот"):
        await token.fill(wrong)
        await page.keyboard.press("Enter")
        await expect(page.get_by_role("alert")).to_have_text(TOKEN_REFUSED)
        await expect(token).to_have_attribute("aria-invalid", "true")
    await token.fill(f"  {system.operators_token} ")
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("heading", name="Delivery")).to_be_visible()

    await page.reload()
    await expect(page.get_by_role("heading", name="Delivery")).to_be_visible()
    assert system.operators_token not in await page.evaluate("JSON.stringify(localStorage)")
    await page.get_by_role("button", name="Sign out").click()
    await expect(page.get_by_role("heading", name="Operations")).to_be_visible()
    assert await page.evaluate("sessionStorage.length") == 0
    await page.reload()
    await expect(page.get_by_role("heading", name="Operations")).to_be_visible()


async def test_a_token_that_is_no_longer_valid_signs_the_operator_out(open_ops: OpenOps) -> None:
    page = await open_ops(expected=(UNAUTHORIZED,))
    await expect(page.get_by_role("heading", name="Delivery")).to_be_visible()
    await page.evaluate("sessionStorage.setItem('scoreline.operator', 'another-token-altogether')")
    await page.reload()
    await expect(page.locator(".sign-in [role=alert]")).to_have_text(TOKEN_REFUSED)


async def test_the_outbox_is_seen_to_fill_and_to_empty(
    system: System, open_ops: OpenOps, create_event: CreateEvent, rater: AsyncClient, everything_settled: Settled
) -> None:
    event = await create_event()
    await everything_settled()
    page = await open_ops()
    await expect(figure(page, "messages")).to_have_text("0")
    await expect(page.locator('[data-service="arq_worker"]')).to_have_text(re.compile("reporting"))

    await system.arq_worker.stop()
    await rate(rater, event.event_id, 3)
    await expect(figure(page, "messages")).to_have_text("3")
    await expect(figure(page, "due")).to_have_text("3")
    await expect(figure(page, "accepted")).not_to_have_text("0")
    await expect(page.locator('[data-service="arq_worker"]')).to_have_text(re.compile("not reporting"))

    await system.arq_worker.start()
    await expect(figure(page, "messages")).to_have_text("0")
    applied = page.get_by_role("row", name=re.compile("^Applied"))
    await expect(applied).to_be_visible()
    await expect(page.locator('[data-service="arq_worker"]')).to_have_text(re.compile("reporting"))


async def test_stuck_messages_are_shown_with_their_error_and_retried(
    system: System,
    open_ops: OpenOps,
    create_event: CreateEvent,
    rater: AsyncClient,
    scores_database: AsyncEngine,
    everything_settled: Settled,
) -> None:
    event = await create_event()
    await everything_settled()
    await system.arq_worker.stop()
    await rate(rater, event.event_id, 2)
    # The state in which a worker leaves messages after many failed calls.
    async with scores_database.begin() as connection:
        await connection.execute(
            text("""
                UPDATE scores_outbox
                SET attempts = 9, last_error = 'INTERNAL: something unforeseen',
                    next_attempt_at = now() + interval '1 hour'
            """)
        )
    await system.arq_worker.start()
    page = await open_ops()
    await expect(figure(page, "stuck")).to_have_text("2")
    stuck = page.locator(".row[data-message]")
    await expect(stuck).to_have_count(2)
    await expect(stuck.first).to_contain_text(f"Rating of 4 for event {event.event_id}")
    await expect(stuck.first).to_contain_text("9 attempts")
    await expect(stuck.first).to_contain_text("INTERNAL: something unforeseen")
    await assert_accessible(page)

    await stuck.first.get_by_role("button", name=re.compile("Retry now")).click()
    await expect(page.get_by_role("status").first).to_have_text("Retrying 1 message.")
    await expect(stuck).to_have_count(1)
    await page.get_by_role("button", name="Retry all").click()
    await expect(page.get_by_text("Nothing is stuck.")).to_be_visible()
    await expect(figure(page, "stuck")).to_have_text("0")
    await everything_settled()
    assert (await rater.get(f"/events/{event.event_id}")).json()["score_count"] == 2


async def test_unreachable_services_and_databases_are_shown(system: System, open_ops: OpenOps) -> None:
    page = await open_ops(expected=(UNREACHABLE,))
    line_provider = page.locator('[data-service="line_provider"]')
    await expect(line_provider).to_have_attribute("data-kind", "good")
    await system.line_provider.stop()
    await expect(line_provider).to_have_text(re.compile("unreachable"))
    await expect(line_provider).to_have_attribute("data-kind", "bad")
    await system.line_provider.start()
    await expect(line_provider).to_have_attribute("data-kind", "good")

    await system.score_maker_postgres.stop()
    await expect(page.locator("#outbox-title + .note")).to_have_text("Unknown: the database is unreachable.")
    await expect(page.locator('[data-service="score_maker"]')).to_contain_text("not ready")
    await system.score_maker_postgres.start()
    await expect(figure(page, "messages")).to_be_visible()


async def test_events_that_differ_are_named(open_ops: OpenOps, scores_database: AsyncEngine, system: System) -> None:
    # The record of a worker that found two; the worker is stopped, so that it does not record that there are none.
    await system.arq_worker.stop()
    async with scores_database.begin() as connection:
        await connection.execute(text("DELETE FROM last_reconciliation"))
        await connection.execute(text("INSERT INTO last_reconciliation VALUES (true, now(), 104, '{17, 23}')"))
    page = await open_ops()
    agreement = page.locator("section", has=page.get_by_role("heading", name="Do the totals match?"))
    await expect(agreement).to_contain_text("2 events don’t match and are being repaired.")
    await expect(agreement).to_contain_text("Events: 17, 23")
    await system.arq_worker.start()
    await expect(agreement).to_contain_text("All totals that can be compared match.")


async def test_an_event_is_added_changed_and_cancelled(
    open_ops: OpenOps, rater: AsyncClient, organiser: "EventServiceAsyncStub"
) -> None:
    title = f"Gala {secrets.token_hex(4)}"
    page = await open_ops(timezone_id="Asia/Tokyo", expected=(REFUSED,))
    await find(page, title, count=0)
    # In the list of open events the event would disappear with the first reload after it was cancelled.
    await page.get_by_label("Status").select_option(label="All")
    await expect(page.get_by_text("No events found")).to_be_visible()
    await page.get_by_role("button", name="Add an event").click()
    dialog = page.get_by_role("dialog", name="Add an event")
    await dialog.get_by_label("Title").fill(title)
    await dialog.get_by_label("Starts").fill("2030-01-02T20:00")
    await expect(dialog.get_by_label("Rating closes")).to_have_value("2030-01-04T20:00")
    await expect(dialog).to_contain_text("Asia/Tokyo")
    await dialog.get_by_label("Rating closes").fill("2030-01-01T20:00")
    await dialog.get_by_role("button", name="Add event").click()
    await expect(dialog.get_by_role("alert")).to_have_text("Rating must not close before the event starts.")
    await assert_accessible(page)
    await dialog.get_by_label("Rating closes").fill("2030-01-03T20:00")
    await dialog.get_by_role("button", name="Add event").click()
    await expect(dialog).to_have_count(0)
    await expect(page.locator(".row[data-event]")).to_have_count(1)

    (listed,) = (await rater.get("/events", params={"q": title})).json()["events"]
    assert (listed["starts_at"], listed["deadline"]) == ("2030-01-02T11:00:00Z", "2030-01-03T11:00:00Z")
    shown = row(page, listed["event_id"])
    await expect(shown).to_contain_text(title)

    await shown.get_by_role("button", name=f"Edit “{title}”").click()
    dialog = page.get_by_role("dialog", name="Edit event")
    await expect(dialog.get_by_label("Title")).to_have_value(title)
    await expect(dialog.get_by_label("Starts")).to_have_value("2030-01-02T20:00")
    await dialog.get_by_label("Title").fill(f"{title}, moved")
    await dialog.get_by_label("Description").fill("In the great hall")
    await dialog.get_by_label("Starts").fill("2030-01-02T21:30")
    await dialog.get_by_label("Rating closes").fill("2030-01-05T20:00")
    await dialog.get_by_role("button", name="Save changes").click()
    await expect(shown).to_contain_text(f"{title}, moved")
    event = (await organiser.GetEvent(events_pb2.GetEventRequest(event_id=listed["event_id"]))).event
    assert (event.title, event.description) == (f"{title}, moved", "In the great hall")
    assert event.starts_at.ToDatetime(tzinfo=UTC) == datetime(2030, 1, 2, 12, 30, tzinfo=UTC)
    assert event.deadline.ToDatetime(tzinfo=UTC) == datetime(2030, 1, 5, 11, 0, tzinfo=UTC)

    await shown.get_by_role("button", name=f"Cancel event… “{title}, moved”").click()
    dialog = page.get_by_role("dialog", name=f"Cancel “{title}, moved”?")
    await assert_accessible(page)
    await dialog.get_by_role("button", name="Keep event").click()
    await expect(shown.locator(".phase")).to_have_text("Open")
    await shown.get_by_role("button", name=f"Cancel event… “{title}, moved”").click()
    await dialog.get_by_role("button", name="Cancel event").click()
    await expect(page.get_by_role("status").first).to_have_text(f"“{title}, moved” was cancelled.")
    await expect(shown.locator(".phase")).to_have_text("Cancelled")
    await expect(shown.get_by_role("button")).to_have_count(0)
    event = (await organiser.GetEvent(events_pb2.GetEventRequest(event_id=listed["event_id"]))).event
    assert event.HasField("cancelled_at")


async def test_a_change_touches_nothing_but_what_was_changed(
    open_ops: OpenOps, create_event: CreateEvent, organiser: "EventServiceAsyncStub"
) -> None:
    event = await create_event()
    asked = events_pb2.GetEventRequest(event_id=event.event_id)
    before = (await organiser.GetEvent(asked)).event
    page = await open_ops()
    await find(page, event.title)
    await row(page, event.event_id).get_by_role("button", name=f"Edit “{event.title}”").click()
    dialog = page.get_by_role("dialog", name="Edit event")
    await dialog.get_by_label("Description").fill("Only this")
    await dialog.get_by_role("button", name="Save changes").click()
    await expect(page.get_by_role("status").first).to_have_text(f"“{event.title}” was saved.")
    after = (await organiser.GetEvent(asked)).event
    assert after.description == "Only this"
    # Equal to the microsecond, although the form shows minutes.
    assert (after.starts_at, after.deadline, after.title) == (before.starts_at, before.deadline, before.title)


async def test_editing_an_event_that_was_cancelled_meanwhile_is_explained(
    open_ops: OpenOps, create_event: CreateEvent, cancel_event: ChangeEvent
) -> None:
    event = await create_event()
    page = await open_ops(expected=(REFUSED,))
    await find(page, event.title)
    await row(page, event.event_id).get_by_role("button", name=f"Edit “{event.title}”").click()
    dialog = page.get_by_role("dialog", name="Edit event")
    await dialog.get_by_label("Title").fill("Too late")
    await cancel_event(event.event_id)
    await dialog.get_by_role("button", name="Save changes").click()
    await expect(dialog.get_by_role("alert")).to_have_text("The event can no longer be changed.")
    await dialog.get_by_role("button", name="Close").click()
    await expect(row(page, event.event_id).locator(".phase")).to_have_text("Cancelled")


async def test_an_event_is_added_once_although_the_first_response_was_lost(
    open_ops: OpenOps, rater: AsyncClient
) -> None:
    title = f"Gala {secrets.token_hex(4)}"
    page = await open_ops(expected=("net::ERR_", REFUSED))
    await find(page, title, count=0)
    await page.get_by_role("button", name="Add an event").click()
    dialog = page.get_by_role("dialog", name="Add an event")
    await dialog.get_by_label("Title").fill(title)
    await dialog.get_by_label("Starts").fill("2030-01-02T20:00")
    lost = 0

    async def lose_the_first_response(route: Any) -> None:
        nonlocal lost
        lost += 1
        await route.fetch()
        await route.abort()

    await page.route("**/ops/events", lose_the_first_response, times=1)
    await dialog.get_by_role("button", name="Add event").click()
    await expect(dialog.get_by_role("alert")).to_have_text("No connection.")
    await dialog.get_by_role("button", name="Add event").click()
    await expect(dialog).to_have_count(0)
    await expect(page.locator(".row[data-event]")).to_have_count(1)
    assert lost == 1
    await expect(page.get_by_role("status").first).to_have_text(f"“{title}” was added.")
    assert len((await rater.get("/events", params={"q": title})).json()["events"]) == 1


async def test_a_file_is_imported_with_a_report(open_ops: OpenOps, rater: AsyncClient) -> None:
    name = f"Festival {secrets.token_hex(4)}"
    tomorrow = (datetime.now(UTC) + timedelta(days=1)).date()
    rows = ("one,{}T20:00", "two,{}T22:00", "three,soon")
    content = "title,starts_at\n" + "".join(f"{name} {row.format(tomorrow)}\n" for row in rows) + f",{tomorrow}T20:00\n"
    page = await open_ops(timezone_id="America/Lima", expected=(REFUSED,))
    await find(page, name, count=0)
    await page.get_by_role("button", name="Import a file").click()
    dialog = page.get_by_role("dialog", name="Import a file")
    await expect(dialog.get_by_label("Time zone")).to_have_value("America/Lima")
    file = FilePayload(name="festival.csv", mimeType="text/csv", buffer=content.encode())
    await dialog.get_by_label("File").set_input_files(file)
    await dialog.get_by_label("Hours to rate").fill("3")
    await dialog.get_by_role("button", name="Import", exact=True).click()
    report = dialog.get_by_role("status")
    await expect(report).to_contain_text("2 events added. 2 rows have errors and were skipped.")
    await expect(report).not_to_contain_text("already")
    await expect(report).to_contain_text("line 4 starts_at: must look like")
    await expect(report).to_contain_text("line 5 title: is missing")
    await assert_accessible(page)
    await dialog.get_by_role("button", name="Import", exact=True).click()
    await expect(report).to_contain_text(
        "0 events added. 2 events were there already. 2 rows have errors and were skipped."
    )

    await dialog.get_by_label("File").set_input_files(
        FilePayload(name="picture.png", mimeType="image/png", buffer=b"\x89PNG\xff")
    )
    await dialog.get_by_role("button", name="Import", exact=True).click()
    await expect(report).to_have_text("The file was not imported: not UTF-8 text.")
    await dialog.get_by_label("File").set_input_files(
        FilePayload(name="large.csv", mimeType="text/csv", buffer=b"x" * (1024 * 1024 + 1))
    )
    await dialog.get_by_role("button", name="Import", exact=True).click()
    await expect(report).to_have_text("The file is larger than 1 MB.")
    await dialog.get_by_role("button", name="Close").click()

    await expect(page.locator(".row[data-event]")).to_have_count(2)
    listed = (await rater.get("/events", params={"q": name, "sort": "starts_at"})).json()["events"]
    assert [event["title"] for event in listed] == [f"{name} one", f"{name} two"]
    # 20:00 in Lima, and three hours.
    starts = datetime.combine(tomorrow + timedelta(days=1), datetime.min.time(), UTC) + timedelta(hours=1)
    assert datetime.fromisoformat(listed[0]["starts_at"]) == starts
    assert datetime.fromisoformat(listed[0]["deadline"]) == starts + timedelta(hours=3)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("device", [{}, PHONE], ids=["desktop", "phone"])
@pytest.mark.parametrize("locale", ["en-GB", "ru-RU"])
async def test_axe_finds_nothing_wrong_and_a_phone_shows_everything(
    open_page: OpenPage, open_ops: OpenOps, device: dict[str, Any], scheme: str, locale: str
) -> None:
    options = {"color_scheme": scheme, "locale": locale, "reduced_motion": "reduce", **device}
    signed_out = await open_page("/ops", **options)
    await expect(signed_out.locator(".sign-in")).to_be_visible()
    await assert_accessible(signed_out)
    page = await open_ops(**options)
    await expect(figure(page, "messages")).to_be_visible()

    async def assert_shown_well() -> None:
        await assert_accessible(page)
        width = await page.evaluate("[document.documentElement.scrollWidth, document.documentElement.clientWidth]")
        assert width[0] == width[1]

    await assert_shown_well()
    await page.locator("nav a").nth(1).click()
    await expect(page.locator(".row[data-event]").first).to_be_visible()
    await assert_shown_well()
    for opener, dialog in (
        (page.locator(".actions button").nth(0), "#event-dialog"),
        (page.locator(".actions button").nth(1), "#import-dialog"),
    ):
        await opener.click()
        await expect(page.locator(dialog)).to_be_visible()
        await assert_shown_well()
        await page.keyboard.press("Escape")
        await expect(page.locator(dialog)).to_be_hidden()


async def test_events_can_be_edited_by_keyboard(open_ops: OpenOps, create_event: CreateEvent) -> None:
    event = await create_event()
    page = await open_ops()
    await find(page, event.title)
    button = row(page, event.event_id).get_by_role("button", name=f"Edit “{event.title}”")
    await button.focus()
    await page.keyboard.press("Enter")
    dialog = page.get_by_role("dialog", name="Edit event")
    await expect(dialog.get_by_label("Title")).to_be_focused()
    await page.keyboard.press("Control+A")
    await page.keyboard.type(f"{event.title}, edited")
    await page.keyboard.press("Enter")
    await expect(dialog).to_have_count(0)
    await expect(row(page, event.event_id)).to_contain_text(f"{event.title}, edited")


async def test_events_that_others_add_appear_on_the_page(
    open_ops: OpenOps, create_event: CreateEvent, rater: AsyncClient
) -> None:
    page = await open_ops("/ops?page=manage")
    await expect(page.locator(".row[data-event]").first).to_be_visible()
    event = await create_event()
    await expect(row(page, event.event_id)).to_be_visible()
    await rate(rater, event.event_id)

    async def is_counted() -> bool:
        return bool((await rater.get(f"/events/{event.event_id}")).json()["score_count"] == 1)

    await eventually(is_counted)
    await expect(row(page, event.event_id)).to_contain_text("1 rating, 4.0")
