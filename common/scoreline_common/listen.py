"""LISTEN on a connection of its own: callbacks for each notification, each (re)connection and each loss."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Never

import asyncpg
import structlog
from sqlalchemy.engine import make_url

log = structlog.get_logger(__name__)

RECONNECT_DELAY_SECONDS = 1
PROBE_INTERVAL_SECONDS = 15
PROBE_TIMEOUT_SECONDS = 5


def _ignore() -> None:
    pass


async def listen(
    database_url: str,
    channel: str,
    *,
    on_notification: Callable[[str], None],
    on_connected: Callable[[], None],
    on_lost: Callable[[], None] = _ignore,
) -> Never:
    """Listens until cancelled and reconnects whenever the connection is lost.

    `on_notification` gets the payload of each notification. Notifications sent while there was no connection are gone:
    `on_connected` runs after each (re)connection, and the caller then reads from the database what it may have missed.
    `on_lost` runs once for each connection that was lost.
    """
    dsn = make_url(database_url).set(drivername="postgresql").render_as_string(hide_password=False)
    while True:
        try:
            connection = await asyncpg.connect(dsn, timeout=PROBE_TIMEOUT_SECONDS)
            try:
                await connection.add_listener(channel, lambda *arguments: on_notification(str(arguments[3])))
                on_connected()
                await probe_until_lost(connection, interval_seconds=PROBE_INTERVAL_SECONDS)
            finally:
                on_lost()
                connection.terminate()
        except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
            log.warning("listen_connection_lost", channel=channel, error=str(error) or type(error).__name__)
            await asyncio.sleep(RECONNECT_DELAY_SECONDS)


async def probe_until_lost(connection: "asyncpg.Connection[Any]", *, interval_seconds: float) -> Never:
    """Raises what the driver raises once the connection no longer works.

    A connection that the server closes is noticed at once, and one that died silently by a probe.
    """
    ended = asyncio.Event()
    connection.add_termination_listener(lambda _: ended.set())
    while True:
        with suppress(TimeoutError):
            async with asyncio.timeout(interval_seconds):
                await ended.wait()
        await connection.fetchval("SELECT 1", timeout=PROBE_TIMEOUT_SECONDS)
