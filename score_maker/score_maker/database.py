"""The connection to score_maker's own database."""

from typing import Any

from sqlalchemy import event
from sqlalchemy.exc import DBAPIError, InvalidatePoolError
from sqlalchemy.exc import TimeoutError as PoolExhausted
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

# SQLSTATE classes that speak of the server or of the way to it, not of the statement: connection lost, login refused,
# no such database, resources exhausted, operator intervention (shutting down, starting up).
_SERVER_TROUBLE = ("08", "28", "3D", "53", "57")


def create_engine(url: str, *, pool_size: int = 10) -> AsyncEngine:
    """An engine that replaces connections which a restart of the server has broken. Connecting takes 5 s at most."""
    engine = create_async_engine(
        url,
        pool_size=pool_size,
        max_overflow=0,
        pool_timeout=5,
        connect_args={"timeout": 5, "command_timeout": 30},
    )
    event.listen(engine.sync_engine, "checkout", _replace_if_closed)
    return engine


def autocommit(engine: AsyncEngine) -> AsyncConnection:
    """A connection for statements that are each a transaction by itself, at one way to the server and back.

    To be entered, as `engine.connect()` is; a single statement need not be put between BEGIN and COMMIT.
    """
    return engine.execution_options(isolation_level="AUTOCOMMIT").connect()


def _replace_if_closed(connection: Any, _record: object, _fairy: object) -> None:
    """Has the pool connect anew where the server has closed its connections: known here, without asking it."""
    if connection.driver_connection.is_closed():
        raise InvalidatePoolError


def is_unreachable(error: BaseException) -> bool:
    """Whether the error says that the database cannot be asked now, rather than that the question was wrong."""
    if not isinstance(error, DBAPIError):
        return isinstance(error, (OSError, TimeoutError, PoolExhausted))
    sqlstate = getattr(error.orig, "sqlstate", None) or ""
    return (
        error.connection_invalidated
        or sqlstate.startswith(_SERVER_TROUBLE)
        or isinstance(error.orig, (OSError, TimeoutError))
    )
