"""The connection to score_maker's own database."""

from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolExhausted
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

# SQLSTATE classes that speak of the server or of the way to it, not of the statement: connection lost, login refused,
# no such database, resources exhausted, operator intervention (shutting down, starting up).
_SERVER_TROUBLE = ("08", "28", "3D", "53", "57")


def create_engine(url: str, *, pool_size: int = 10) -> AsyncEngine:
    """An engine that replaces connections which a restart of the server has broken. Connecting takes 5 s at most."""
    return create_async_engine(
        url,
        pool_size=pool_size,
        max_overflow=0,
        pool_timeout=5,
        pool_pre_ping=True,
        connect_args={"timeout": 5, "command_timeout": 30},
    )


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
