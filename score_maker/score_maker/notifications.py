"""Hearing commits that say something has changed, over a LISTEN connection of its own."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Never

import asyncpg
import structlog
from sqlalchemy.engine import make_url

log = structlog.get_logger(__name__)

RECONNECT_DELAY_SECONDS = 1
# A connection that died without a word is found out by asking.
PROBE_INTERVAL_SECONDS = 15
PROBE_TIMEOUT_SECONDS = 5


async def listen(database_url: str, channel: str, on_notification: Callable[[], None]) -> Never:
    """Calls `on_notification` after each commit that notified the channel, and after each (re)connection: what was
    missed is then in the database. Reconnects for ever; runs until cancelled."""
    dsn = make_url(database_url).set(drivername="postgresql").render_as_string(hide_password=False)
    while True:
        try:
            connection = await asyncpg.connect(dsn, timeout=PROBE_TIMEOUT_SECONDS)
            try:
                await _listen(connection, channel, on_notification)
            finally:
                connection.terminate()
        except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
            log.warning("notifications_lost", channel=channel, error=str(error) or type(error).__name__)
            await asyncio.sleep(RECONNECT_DELAY_SECONDS)


async def _listen(connection: "asyncpg.Connection[Any]", channel: str, on_notification: Callable[[], None]) -> Never:
    ended = asyncio.Event()
    connection.add_termination_listener(lambda _: ended.set())
    await connection.add_listener(channel, lambda *_: on_notification())
    on_notification()
    while True:
        with suppress(TimeoutError):
            async with asyncio.timeout(PROBE_INTERVAL_SECONDS):
                await ended.wait()
        await connection.fetchval("SELECT 1", timeout=PROBE_TIMEOUT_SECONDS)
