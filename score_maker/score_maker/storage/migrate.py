"""Bringing score_maker's database to the schema of this version of the code."""

from collections.abc import Sequence
from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, text
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine

# Any constant would do, as long as nobody else locks it in this database.
_MIGRATION_LOCK = 7_236_001

# What each does, and no more. A new table or statement that needs more says so here.
_APP_GRANTS = (
    "GRANT USAGE ON SCHEMA public TO {role}",
    "GRANT SELECT, INSERT, UPDATE ON scores TO {role}",
    "GRANT SELECT, INSERT, UPDATE ON scores_outbox TO {role}",
    "GRANT SELECT ON final_results, last_reconciliation TO {role}",
    "GRANT SELECT, INSERT, UPDATE ON forgotten_raters TO {role}",
    "GRANT SELECT, INSERT, UPDATE, DELETE ON raters TO {role}",
    "GRANT SELECT, INSERT, UPDATE, DELETE ON throughput TO {role}",
)
_WORKER_GRANTS = (
    "GRANT USAGE ON SCHEMA public TO {role}",
    "GRANT SELECT, INSERT, UPDATE ON scores TO {role}",
    "GRANT SELECT, INSERT, UPDATE, DELETE ON scores_outbox TO {role}",
    "GRANT SELECT, INSERT ON final_results TO {role}",
    "GRANT SELECT, UPDATE ON forgotten_raters TO {role}",
    "GRANT SELECT, INSERT, UPDATE, DELETE ON throughput TO {role}",
    "GRANT SELECT, INSERT, UPDATE ON last_reconciliation TO {role}",
)


async def migrate(database_url: str, *, app_role: str | None = None, worker_role: str | None = None) -> None:
    """Upgrades the schema and gives the roles that are named just the rights that score_maker and arq_worker need.

    Doing it again changes nothing; of several at once, one migrates and the others wait for it. What else the roles
    were given on tables is taken from them.
    """
    engine = create_async_engine(database_url)
    try:
        async with engine.begin() as connection:
            await connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _MIGRATION_LOCK})
            await connection.run_sync(_upgrade)
            for name, grants in ((app_role, _APP_GRANTS), (worker_role, _WORKER_GRANTS)):
                if name is not None:
                    await _give_rights(connection, name, grants)
    finally:
        await engine.dispose()


async def _give_rights(connection: AsyncConnection, name: str, grants: Sequence[str]) -> None:
    role = connection.dialect.identifier_preparer.quote_identifier(name)
    await connection.execute(text(f"REVOKE ALL ON ALL TABLES IN SCHEMA public FROM {role}"))
    for grant in grants:
        await connection.execute(text(grant.format(role=role)))


def _upgrade(connection: Connection) -> None:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
