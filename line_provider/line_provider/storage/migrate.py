"""Migrates line_provider's database, and defines the rights of the running service's role."""

from pathlib import Path

from scoreline_common import migrate as common

# Any constant does, as long as nothing else in this database locks it.
_LOCK_KEY = 7_236_002

# The rights that the running service needs, and no others. A new table or statement that needs more adds it here.
_APP_GRANTS = (
    "GRANT USAGE ON SCHEMA public TO {role}",
    "GRANT SELECT, INSERT, UPDATE ON events, applied_scores TO {role}",
)


async def migrate(database_url: str, app_role: str | None = None) -> None:
    """Upgrades the schema and, if `app_role` is given, grants that role what the running service needs."""
    await common.migrate(
        database_url,
        scripts=Path(__file__).parent / "migrations",
        lock_key=_LOCK_KEY,
        grants_by_role={app_role: _APP_GRANTS} if app_role is not None else None,
    )
