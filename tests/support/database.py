"""Observes the state of PostgreSQL itself."""

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from tests.support.waiting import eventually


async def until_blocked(connection: AsyncConnection) -> None:
    """Returns once a session waits for another session's lock."""

    async def is_blocked() -> bool:
        return bool(await connection.scalar(text("SELECT count(*) FROM pg_locks WHERE NOT granted")))

    await eventually(is_blocked, within=60)
