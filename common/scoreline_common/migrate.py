"""Migrates a service's database to the schema of this version, and grants the rights of the services' roles."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, text
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine

# GRANT statements in which {role} stands for the role's quoted name.
Grants = Sequence[str]


async def migrate(
    database_url: str, *, scripts: Path, lock_key: int, grants_by_role: Mapping[str, Grants] | None = None
) -> None:
    """Upgrades the schema by the Alembic scripts in that folder, then gives each role exactly these rights.

    Everything happens in one transaction. Running it again changes nothing; of several runs at once, one migrates
    while the others wait for the advisory lock `lock_key`. Table rights that a role had before are revoked.
    """
    engine = create_async_engine(database_url)
    try:
        async with engine.begin() as connection:
            await connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": lock_key})
            await connection.run_sync(_upgrade, scripts)
            for name, grants in (grants_by_role or {}).items():
                await _grant(connection, name, grants)
    finally:
        await engine.dispose()


async def _grant(connection: AsyncConnection, name: str, grants: Grants) -> None:
    role = connection.dialect.identifier_preparer.quote_identifier(name)
    await connection.execute(text(f"REVOKE ALL ON ALL TABLES IN SCHEMA public FROM {role}"))
    for grant in grants:
        await connection.execute(text(grant.format(role=role)))


def _upgrade(connection: Connection, scripts: Path) -> None:
    config = Config()
    config.set_main_option("script_location", str(scripts))
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
