"""Each database role has exactly the rights declared here; every other statement is attempted and refused."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import asyncpg
import pytest
from sqlalchemy.engine import make_url

from devstack.system import System

PRIVILEGES = ("SELECT", "INSERT", "UPDATE", "DELETE", "TRUNCATE", "REFERENCES", "TRIGGER", "MAINTAIN")


@dataclass(frozen=True, slots=True)
class Role:
    """The property of System that holds the role's URL, and the role's rights on each table of its own database."""

    url: str
    rights: dict[str, set[str]]


ROLES = {
    "line_provider": Role(
        "line_provider_app_database_url",
        {
            "events": {"SELECT", "INSERT", "UPDATE"},
            "applied_scores": {"SELECT", "INSERT", "UPDATE"},
        },
    ),
    "score_maker": Role(
        "score_maker_app_database_url",
        {
            "scores": {"SELECT", "INSERT", "UPDATE"},
            "scores_outbox": {"SELECT", "INSERT", "UPDATE"},
            "final_results": {"SELECT"},
            "last_reconciliation": {"SELECT"},
            "forgotten_raters": {"SELECT", "INSERT", "UPDATE"},
            "raters": {"SELECT", "INSERT", "UPDATE", "DELETE"},
            "throughput": {"SELECT", "INSERT", "UPDATE", "DELETE"},
        },
    ),
    # The worker settles scores, and cannot read which account a rater id belongs to.
    "arq_worker": Role(
        "arq_worker_database_url",
        {
            "scores": {"SELECT", "INSERT", "UPDATE"},
            "scores_outbox": {"SELECT", "INSERT", "UPDATE", "DELETE"},
            "final_results": {"SELECT", "INSERT"},
            "last_reconciliation": {"SELECT", "INSERT", "UPDATE"},
            "forgotten_raters": {"SELECT", "UPDATE"},
            "throughput": {"SELECT", "INSERT", "UPDATE", "DELETE"},
        },
    ),
}

# The other service's server need not have the role or the database at all.
REFUSALS = (
    asyncpg.InvalidAuthorizationSpecificationError,
    asyncpg.InsufficientPrivilegeError,
    asyncpg.InvalidCatalogNameError,
)

# Statements that would let a role escape its database or exceed its rights.
FORBIDDEN = (
    "CREATE TABLE smuggled (id int)",
    "CREATE TEMPORARY TABLE smuggled (id int)",
    "CREATE SCHEMA smuggled",
    "CREATE FUNCTION smuggled() RETURNS int LANGUAGE sql AS 'SELECT 1'",
    "CREATE ROLE smuggled",
    "SET session_preload_libraries = 'smuggled'",
    "COPY (SELECT 1) TO PROGRAM 'true'",
    "COPY (SELECT 1) TO '/tmp/smuggled'",
    "SELECT pg_read_file('PG_VERSION')",
    "SELECT * FROM pg_authid",
    "SET ROLE postgres",
    "SET SESSION AUTHORIZATION postgres",
)


@pytest.fixture(params=ROLES)
def role(request: pytest.FixtureRequest) -> Role:
    return ROLES[request.param]


@pytest.fixture
async def connection(system: System, role: Role) -> AsyncIterator["asyncpg.Connection[Any]"]:
    connection = await connect(getattr(system, role.url))
    yield connection
    await connection.close()


async def connect(url: str) -> "asyncpg.Connection[Any]":
    return await asyncpg.connect(make_url(url).set(drivername="postgresql").render_as_string(hide_password=False))


async def attempt(connection: "asyncpg.Connection[Any]", statement: str) -> bool:
    """Returns whether the role may run the statement, which is rolled back."""
    transaction = connection.transaction()
    await transaction.start()
    try:
        await connection.execute(statement)
    except asyncpg.InsufficientPrivilegeError:
        return False
    finally:
        await transaction.rollback()
    return True


async def test_a_role_has_exactly_the_declared_rights(role: Role, connection: "asyncpg.Connection[Any]") -> None:
    tables = await connection.fetch(
        "SELECT c.oid, relname FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = relnamespace "
        "WHERE nspname = 'public' AND relkind IN ('r', 'p', 'v', 'm', 'f')"
    )
    held = {
        table["relname"]: {
            privilege
            for privilege in PRIVILEGES
            if await connection.fetchval("SELECT has_table_privilege($1::oid, $2)", table["oid"], privilege)
        }
        for table in tables
    }
    assert {table: rights for table, rights in held.items() if rights} == role.rights
    assert "alembic_version" in held

    for table in held:
        columns = await connection.fetch(
            "SELECT attname FROM pg_attribute WHERE attrelid = $1::regclass AND attnum > 0", table
        )
        column = f'"{columns[0]["attname"]}"'
        statements = {
            "SELECT": f"SELECT FROM {table} LIMIT 1",
            "UPDATE": f"UPDATE {table} SET {column} = {column} WHERE false",
            "INSERT": f"INSERT INTO {table} SELECT * FROM {table} WHERE false",
            "DELETE": f"DELETE FROM {table} WHERE false",
            "TRUNCATE": f"TRUNCATE {table}",
        }
        for privilege, statement in statements.items():
            if privilege not in role.rights.get(table, set()):
                assert not await attempt(connection, statement), statement
        for ddl in (f"ALTER TABLE {table} ADD COLUMN smuggled int", f"DROP TABLE {table}"):
            assert not await attempt(connection, ddl), ddl


@pytest.mark.parametrize("statement", FORBIDDEN)
async def test_a_role_cannot_exceed_its_rights(connection: "asyncpg.Connection[Any]", statement: str) -> None:
    assert not await attempt(connection, statement)


async def test_no_role_can_connect_to_the_other_services_database(system: System, role: Role) -> None:
    own = make_url(getattr(system, role.url))
    assert own.username is not None
    for server in (system.line_provider_postgres, system.score_maker_postgres):
        for database in ("line_provider", "score_maker", "postgres", "template1"):
            url = server.url(database, user=own.username, password=str(own.password))
            if make_url(url) == own:
                continue
            with pytest.raises(REFUSALS):
                await connect(url)
