"""The connection of a service to its own PostgreSQL database, and the errors that say that it cannot be reached."""

from typing import Any

from sqlalchemy import event
from sqlalchemy.exc import DBAPIError, InvalidatePoolError
from sqlalchemy.exc import TimeoutError as PoolExhausted
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

# SQLSTATE classes that describe the server or the connection rather than the statement: connection lost, login refused,
# no such database, resources exhausted, operator intervention (shutting down, starting up).
_SERVER_ERRORS = ("08", "28", "3D", "53", "57")


def create_engine(url: str, *, pool_size: int = 10) -> AsyncEngine:
    """Creates an engine that replaces connections broken by a restart of the server. Connecting takes 5 s at most."""
    engine = create_async_engine(
        url,
        pool_size=pool_size,
        max_overflow=0,
        pool_timeout=5,
        # Applying ratings relies on each statement seeing what was committed before it: see line_provider's apply.py.
        isolation_level="READ COMMITTED",
        connect_args={"timeout": 5, "command_timeout": 30},
    )
    event.listen(engine.sync_engine, "checkout", _replace_if_closed)
    return engine


def autocommit(engine: AsyncEngine) -> AsyncConnection:
    """Returns a connection on which every statement is a transaction of its own and costs a single round trip.

    Enter it as you would enter `engine.connect()`. A single statement needs no BEGIN and COMMIT around it.
    """
    return engine.execution_options(isolation_level="AUTOCOMMIT").connect()


def _replace_if_closed(connection: Any, _record: object, _fairy: object) -> None:
    """Makes the pool reconnect when the server has closed the connection; the client knows that without a probe."""
    if connection.driver_connection.is_closed():
        raise InvalidatePoolError


def is_unreachable(error: BaseException) -> bool:
    """Tells whether the database could not be asked at all, as opposed to rejecting the statement."""
    if not isinstance(error, DBAPIError):
        return isinstance(error, (OSError, TimeoutError, PoolExhausted))
    sqlstate = getattr(error.orig, "sqlstate", None) or ""
    return (
        error.connection_invalidated
        or sqlstate.startswith(_SERVER_ERRORS)
        or isinstance(error.orig, (OSError, TimeoutError))
    )


def is_not_migrated(error: BaseException) -> bool:
    """Tells whether the statement failed because a table or a column is missing."""
    return isinstance(error, DBAPIError) and getattr(error.orig, "sqlstate", None) in {"42P01", "42703"}
