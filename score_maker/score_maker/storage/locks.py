"""Advisory locks of score_maker's database: work that at most one session does at a time, across all processes.

PostgreSQL holds such a lock for a session and releases it when the session ends, however it ends. So a process that
dies leaves nothing locked, and no lock needs an expiry that a slow pass could outlive.
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import asyncpg
from sqlalchemy.engine import make_url

from scoreline_common.listen import probe_until_lost

# Any constants do, as long as nothing else in this database locks them: migrate.py locks 7236001.
RECONCILE = 7_236_002
FINALIZE = 7_236_003
ERASE = 7_236_004

TIMEOUT_SECONDS = 5
PROBE_INTERVAL_SECONDS = 5
# A server that has lost its client without notice must end the session by itself, or the lock would stay for hours. It
# does so later than the client's probe fails, so the work has stopped by then.
_KEEPALIVES = {"tcp_keepalives_idle": "20", "tcp_keepalives_interval": "5", "tcp_keepalives_count": "3"}

_ERRORS = (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError)


class LockUnavailable(ConnectionError):
    """The lock could not be asked for, or was lost while the work ran. `is_unreachable` accepts this error."""


async def run_exclusively(database_url: str, key: int, work: Callable[[], Awaitable[object]]) -> bool:
    """Runs the work while holding the lock; returns False at once, without running it, if another session holds it.

    The lock has a connection of its own. If that is lost while the work runs, another process may get the lock, so the
    work is cancelled. Raises LockUnavailable, and what the work raises.
    """
    dsn = make_url(database_url).set(drivername="postgresql").render_as_string(hide_password=False)
    try:
        connection = await asyncpg.connect(dsn, timeout=TIMEOUT_SECONDS, server_settings=_KEEPALIVES)
    except _ERRORS as error:
        raise LockUnavailable(f"cannot lock {key}: {error!r}") from error
    try:
        try:
            is_free = await connection.fetchval("SELECT pg_try_advisory_lock($1)", key, timeout=TIMEOUT_SECONDS)
        except _ERRORS as error:
            raise LockUnavailable(f"cannot lock {key}: {error!r}") from error
        if is_free:
            await _run_while_connected(connection, key, work)
            with suppress(*_ERRORS):
                await connection.fetchval("SELECT pg_advisory_unlock($1)", key, timeout=TIMEOUT_SECONDS)
        return bool(is_free)
    finally:
        connection.terminate()


async def _run_while_connected(
    connection: "asyncpg.Connection[Any]", key: int, work: Callable[[], Awaitable[object]]
) -> None:
    working = asyncio.ensure_future(work())
    probing = asyncio.create_task(probe_until_lost(connection, interval_seconds=PROBE_INTERVAL_SECONDS))
    try:
        await asyncio.wait({working, probing}, return_when=asyncio.FIRST_COMPLETED)
        lost = probing.exception() if probing.done() else None
    finally:
        working.cancel()
        probing.cancel()
        await asyncio.gather(working, probing, return_exceptions=True)
    if lost is not None and working.cancelled():
        raise LockUnavailable(f"lost lock {key}: {lost!r}") from lost
    working.result()
