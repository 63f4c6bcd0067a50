"""The embedded PostgreSQL: which role may connect to which database, and which kinds of stop the data survives."""

import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg
import pytest
from sqlalchemy.engine import make_url

from devstack.postgres import Postgres


@asynccontextmanager
async def connected(url: str) -> AsyncIterator["asyncpg.Connection[asyncpg.Record]"]:
    parts = make_url(url)
    connection = await asyncpg.connect(
        host=str(parts.query["host"]), user=parts.username, password=parts.password, database=parts.database
    )
    try:
        yield connection
    finally:
        await connection.close()


async def fetch(url: str, query: str = "SELECT current_user") -> object:
    async with connected(url) as connection:
        return await connection.fetchval(query)


async def test_each_role_can_connect_to_its_own_database_and_to_no_other(postgres: Postgres) -> None:
    mine = await postgres.create_database("mine", owner="me", password="my secret")
    yours = await postgres.create_database("yours", owner="you", password="your secret")
    assert await fetch(mine) == "me"
    assert await fetch(yours) == "you"
    for user, password, database in [("me", "my secret", "yours"), ("you", "your secret", "mine")]:
        with pytest.raises(asyncpg.InsufficientPrivilegeError, match="permission denied for database"):
            await fetch(postgres.url(database, user=user, password=password))
    for database in ("postgres", "template1"):
        with pytest.raises(asyncpg.InvalidAuthorizationSpecificationError, match="rejects connection"):
            await fetch(postgres.url(database, user="me", password="my secret"))


async def test_a_login_without_the_right_password_is_refused(postgres: Postgres) -> None:
    await postgres.create_database("guarded", owner="keeper", password="the right one")
    for user, password in [("keeper", "a wrong one"), ("keeper", None), ("nobody", "guess")]:
        with pytest.raises(asyncpg.InvalidPasswordError):
            await fetch(postgres.url("guarded", user=user, password=password))


async def test_a_role_that_may_connect_to_a_database_has_no_other_rights_in_it(postgres: Postgres) -> None:
    owner = await postgres.create_database("shared", owner="owner", password="secret")
    guest = await postgres.create_role("guest", password="secret", database="shared")
    async with connected(owner) as connection:
        await connection.execute("CREATE TABLE kept (value int)")
    for forbidden in ("SELECT count(*) FROM kept", "CREATE TABLE mine ()", "CREATE TEMPORARY TABLE mine ()"):
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await fetch(guest, forbidden)


async def test_creating_a_database_again_keeps_its_data_and_sets_the_new_password(postgres: Postgres) -> None:
    before = await postgres.create_database("again", owner="again", password="old")
    async with connected(before) as connection:
        await connection.execute("CREATE TABLE kept AS SELECT 42 AS value")
    after = await postgres.create_database("again", owner="again", password="new")
    assert await fetch(after, "SELECT value FROM kept") == 42
    with pytest.raises(asyncpg.InvalidPasswordError):
        await fetch(before)


@pytest.mark.parametrize(
    "end",
    [Postgres.stop, Postgres.stop_immediately, Postgres.kill],
    ids=["a stop", "an immediate stop", "a crash"],
)
async def test_committed_data_survives(end: Callable[[Postgres], Awaitable[None]], tmp_path: Path) -> None:
    async with Postgres(tmp_path / "postgres") as server:
        url = await server.create_database("kept", owner="kept", password="secret")
        async with connected(url) as connection:
            await connection.execute("CREATE TABLE kept AS SELECT 42 AS value")
            await end(server)
        assert not server.running
        await server.start()
        assert await fetch(url, "SELECT value FROM kept") == 42


async def test_it_starts_although_another_process_has_the_pid_of_the_dead_server(
    tmp_path: Path,
) -> None:
    server = Postgres(tmp_path / "postgres")
    async with server:
        pid_file = tmp_path / "postgres" / "postmaster.pid"
        lines = pid_file.read_text().splitlines()
        await server.kill()
        pid_file.write_text("\n".join([str(os.getppid()), *lines[1:]]) + "\n")
        await server.start()
        assert server.running


@pytest.mark.parametrize("name", ["a folder, with spaces, ' and %20", "long" * 50], ids=["odd", "long"])
async def test_it_is_reachable_on_a_folder_whose_path_is_unusable_for_a_socket(name: str, tmp_path: Path) -> None:
    async with Postgres(tmp_path / name / "postgres") as server:
        url = await server.create_database("found", owner="found", password="secret")
        assert await fetch(url) == "found"
