"""PostgreSQL's statistics of sequential scans."""

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

_ROWS = text("SELECT seq_tup_read FROM pg_stat_user_tables WHERE relname = :table")


async def rows_read_through(engine: AsyncEngine, table: str) -> int:
    """How many rows sequential scans of the table have read since the statistics began, by all sessions.

    The engine must have one connection: only the session that ran the statements in question can flush its counts.
    """
    async with engine.connect() as connection:
        await connection.execute(text("SELECT pg_stat_force_next_flush()"))
    async with engine.connect() as connection:
        rows: int = (await connection.execute(_ROWS, {"table": table})).scalar_one()
    return rows
