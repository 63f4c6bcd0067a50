"""Bringing line_provider's database to the schema of this version of the code."""

from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, text
from sqlalchemy.ext.asyncio import create_async_engine

# Any constant would do, as long as nobody else locks it in this database.
_MIGRATION_LOCK = 7_236_002


# What the running service does, and no more.
_APP_GRANTS = (
    "GRANT USAGE ON SCHEMA public TO {role}",
    "GRANT SELECT, INSERT, UPDATE ON events, applied_scores TO {role}",
)


async def migrate(database_url: str, app_role: str | None = None) -> None:
    """Upgrades the schema and gives `app_role`, where one is named, just the rights that the running service needs.

    Doing it again changes nothing; of several at once, one migrates and the others wait for it. What else the role was
    given on tables is taken from it.
    """
    engine = create_async_engine(database_url)
    try:
        async with engine.begin() as connection:
            await connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _MIGRATION_LOCK})
            await connection.run_sync(_upgrade)
            if app_role is not None:
                role = connection.dialect.identifier_preparer.quote_identifier(app_role)
                await connection.execute(text(f"REVOKE ALL ON ALL TABLES IN SCHEMA public FROM {role}"))
                for grant in _APP_GRANTS:
                    await connection.execute(text(grant.format(role=role)))
    finally:
        await engine.dispose()


def _upgrade(connection: Connection) -> None:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
