"""The embedded PostgreSQL: who may enter what, and what its data outlives."""

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


async def answer(url: str, query: str = "SELECT current_user") -> object:
    async with connected(url) as connection:
        return await connection.fetchval(query)


async def test_each_role_enters_its_own_database_and_no_other(postgres: Postgres) -> None:
    mine = await postgres.create_database("mine", owner="me", password="my secret")
    yours = await postgres.create_database("yours", owner="you", password="your secret")
    assert await answer(mine) == "me"
    assert await answer(yours) == "you"
    for user, password, database in [("me", "my secret", "yours"), ("you", "your secret", "mine")]:
        with pytest.raises(asyncpg.InsufficientPrivilegeError, match="permission denied for database"):
            await answer(postgres.url(database, user=user, password=password))
    for database in ("postgres", "template1"):
        with pytest.raises(asyncpg.InvalidAuthorizationSpecificationError, match="rejects connection"):
            await answer(postgres.url(database, user="me", password="my secret"))


async def test_nobody_enters_without_the_right_password(postgres: Postgres) -> None:
    await postgres.create_database("guarded", owner="keeper", password="the right one")
    for user, password in [("keeper", "a wrong one"), ("keeper", None), ("nobody", "guess")]:
        with pytest.raises(asyncpg.InvalidPasswordError):
            await answer(postgres.url("guarded", user=user, password=password))


async def test_a_role_admitted_to_a_database_may_do_nothing_there_by_itself(postgres: Postgres) -> None:
    owner = await postgres.create_database("shared", owner="owner", password="secret")
    guest = await postgres.create_role("guest", password="secret", database="shared")
    async with connected(owner) as connection:
        await connection.execute("CREATE TABLE kept (value int)")
    for forbidden in ("SELECT count(*) FROM kept", "CREATE TABLE mine ()", "CREATE TEMPORARY TABLE mine ()"):
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await answer(guest, forbidden)


async def test_making_a_database_again_keeps_its_data_and_takes_the_new_password(postgres: Postgres) -> None:
    before = await postgres.create_database("again", owner="again", password="old")
    async with connected(before) as connection:
        await connection.execute("CREATE TABLE kept AS SELECT 42 AS value")
    after = await postgres.create_database("again", owner="again", password="new")
    assert await answer(after, "SELECT value FROM kept") == 42
    with pytest.raises(asyncpg.InvalidPasswordError):
        await answer(before)


@pytest.mark.parametrize(
    "end",
    [Postgres.stop, Postgres.stop_immediately, Postgres.kill],
    ids=["a stop", "an immediate stop", "a crash"],
)
async def test_what_was_committed_outlives(end: Callable[[Postgres], Awaitable[None]], tmp_path: Path) -> None:
    async with Postgres(tmp_path / "postgres") as server:
        url = await server.create_database("kept", owner="kept", password="secret")
        async with connected(url) as connection:
            await connection.execute("CREATE TABLE kept AS SELECT 42 AS value")
            await end(server)
        assert not server.running
        await server.start()
        assert await answer(url, "SELECT value FROM kept") == 42


async def test_another_process_that_got_the_pid_of_the_dead_server_does_not_keep_it_from_starting(
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
async def test_it_is_reached_from_a_folder_whose_path_no_socket_can_have(name: str, tmp_path: Path) -> None:
    async with Postgres(tmp_path / name / "postgres") as server:
        url = await server.create_database("found", owner="found", password="secret")
        assert await answer(url) == "found"
