"""Migrates score_maker's database; the rights of the roles of score_maker and arq_worker are listed here."""

from pathlib import Path

from scoreline_common import migrate as common

# Any constant does, as long as nothing else in this database locks it.
_LOCK_KEY = 7_236_001

# What each service does, and nothing more. A new table or statement that needs more adds it here.
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
    """Upgrades the schema and grants the roles that are given what score_maker and arq_worker need."""
    grants_by_role = {app_role: _APP_GRANTS, worker_role: _WORKER_GRANTS}
    await common.migrate(
        database_url,
        scripts=Path(__file__).parent / "migrations",
        lock_key=_LOCK_KEY,
        grants_by_role={role: grants for role, grants in grants_by_role.items() if role is not None},
    )
