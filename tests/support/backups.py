"""Backs up and restores a database as docs/operations.md describes."""

import asyncio
import os
from pathlib import Path

from sqlalchemy.engine import make_url

from devstack.postgres import binaries


async def back_up(database_url: str, dump: Path) -> None:
    await _run("pg_dump", "--format=custom", f"--file={dump}", database_url=database_url)


async def restore(database_url: str, dump: Path) -> None:
    """Replaces the contents of the database with the backup."""
    await _run(
        "pg_restore",
        *("--clean", "--if-exists", "--single-transaction", "--exit-on-error"),
        *(f"--dbname={make_url(database_url).database}", str(dump)),
        database_url=database_url,
    )


async def _run(program: str, *arguments: str, database_url: str) -> None:
    url = make_url(database_url)
    place = {
        "PGHOST": str(url.query["host"]),
        "PGUSER": url.username or "",
        "PGPASSWORD": url.password or "",
        "PGDATABASE": url.database or "",
    }
    process = await asyncio.create_subprocess_exec(
        binaries() / program,
        *arguments,
        env=os.environ | place,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await process.communicate()
    assert process.returncode == 0, output.decode()
