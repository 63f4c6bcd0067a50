"""What PostgreSQL counts of scans that read through a whole table."""

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

_ROWS = text("SELECT seq_tup_read FROM pg_stat_user_tables WHERE relname = :table")


async def rows_read_through(engine: AsyncEngine, table: str) -> int:
    """How many rows they have read, by what the engine's one connection has asked for among others."""
    async with engine.connect() as connection:
        await connection.execute(text("SELECT pg_stat_force_next_flush()"))
    async with engine.connect() as connection:
        rows: int = (await connection.execute(_ROWS, {"table": table})).scalar_one()
    return rows
