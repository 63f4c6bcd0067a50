"""Bringing score_maker's database to the schema of this version of the code."""

from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, text
from sqlalchemy.ext.asyncio import create_async_engine

# Any constant would do, as long as nobody else locks it in this database.
_MIGRATION_LOCK = 7_236_001

_WORKER_GRANTS = (
    "GRANT USAGE ON SCHEMA public TO {role}",
    "GRANT SELECT, INSERT, UPDATE ON scores TO {role}",
    "GRANT SELECT, INSERT, UPDATE, DELETE ON scores_outbox TO {role}",
    "GRANT SELECT, INSERT ON final_results TO {role}",
    "GRANT SELECT, UPDATE ON forgotten_raters TO {role}",
    "GRANT SELECT, INSERT, UPDATE, DELETE ON throughput TO {role}",
    "GRANT SELECT, INSERT, UPDATE ON last_reconciliation TO {role}",
)


async def migrate(database_url: str, worker_role: str | None) -> None:
    """Upgrades the schema and gives `worker_role`, where one is named, just the rights that arq_worker needs.

    Doing it again changes nothing; of several at once, one migrates and the others wait for it.
    """
    engine = create_async_engine(database_url)
    try:
        async with engine.begin() as connection:
            await connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _MIGRATION_LOCK})
            await connection.run_sync(_upgrade)
            if worker_role is not None:
                role = connection.dialect.identifier_preparer.quote_identifier(worker_role)
                for grant in _WORKER_GRANTS:
                    await connection.execute(text(grant.format(role=role)))
    finally:
        await engine.dispose()


def _upgrade(connection: Connection) -> None:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
