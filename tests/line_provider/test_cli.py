"""The command line, as processes."""

import asyncio
import json
import os
import signal
import socket
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import grpc
import pytest
from sqlalchemy.ext.asyncio import AsyncEngine
from typer.testing import CliRunner

from devstack.postgres import Postgres
from line_provider.cli import app
from line_provider.events.domain import Event
from line_provider.events.queries import list_events_by_id
from scoreline.line_provider.v1 import events_pb2, events_pb2_grpc
from tests.support.running_server import ADMIN_TOKEN, WORKER_TOKEN, RunningServer

COMMAND = Path(sys.executable).with_name("line-provider")
WORLD_CUP = Path(__file__).parents[2] / "fixtures" / "worldcup-2026.json"
UNREACHABLE = "postgresql://anybody:secret@/anywhere?host=/nonexistent"


async def start(*arguments: str, settings: Mapping[str, str], folder: Path) -> Process:
    # A sitecustomize.py in the folder is run first: a test can change the process by it.
    environment = {"PATH": os.environ["PATH"], "COLUMNS": "200", "PYTHONPATH": str(folder)} | {
        f"LINE_PROVIDER_{name}": value for name, value in settings.items()
    }
    return await asyncio.create_subprocess_exec(
        COMMAND, *arguments, cwd=folder, env=environment, stdout=PIPE, stderr=PIPE
    )


async def run(*arguments: str, settings: Mapping[str, str], folder: Path) -> tuple[int | None, list[str], list[str]]:
    """Returns the exit code, and the lines of output and of errors."""
    process = await start(*arguments, settings=settings, folder=folder)
    output, errors = await process.communicate()
    return process.returncode, output.decode().splitlines(), errors.decode().splitlines()


def serve_settings(database_url: str, **differently: str) -> dict[str, str]:
    return {
        "DATABASE_URL": database_url,
        "ADMIN_TOKEN": ADMIN_TOKEN,
        "WORKER_TOKEN": WORKER_TOKEN,
        "LISTEN": "127.0.0.1:0",
        "LOG_FORMAT": "json",
        **differently,
    }


@asynccontextmanager
async def serving(settings: Mapping[str, str], folder: Path) -> AsyncIterator[tuple[Process, int]]:
    """A server as a process, and its port."""
    process = await start("serve", settings=settings, folder=folder)
    assert process.stderr is not None
    try:
        async with asyncio.timeout(30):
            started = json.loads(await process.stderr.readline())
        yield process, started["port"]
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def all_events(engine: AsyncEngine) -> list[Event]:
    async with engine.connect() as connection:
        return await list_events_by_id(connection, limit=1000)


async def test_a_missing_setting_is_one_line_that_names_it_and_the_file_to_copy(tmp_path: Path) -> None:
    assert await run("serve", settings={"DATABASE_URL": UNREACHABLE}, folder=tmp_path) == (
        2,
        [],
        ["LINE_PROVIDER_ADMIN_TOKEN: is missing. See line_provider/.env_example: copy it to .env and edit it."],
    )


async def test_an_unreachable_database_is_reported_in_one_line(tmp_path: Path) -> None:
    code, output, errors = await run("events", "list", settings={"DATABASE_URL": UNREACHABLE}, folder=tmp_path)
    assert (code, output, len(errors)) == (1, [], 1)
    assert errors[0].startswith("LINE_PROVIDER_DATABASE_URL: the database is unreachable: ")


async def test_a_new_database_needs_migrating_first(tmp_path: Path, postgres: Postgres) -> None:
    settings = {"DATABASE_URL": await postgres.create_database("tested_new", owner="tested_new", password="secret")}
    assert await run("events", "list", settings=settings, folder=tmp_path) == (
        1,
        [],
        ["The database does not have the schema of this version: run `line-provider migrate` first."],
    )
    assert await run("migrate", settings=settings, folder=tmp_path) == (0, [], [])
    code, output, _ = await run("events", "list", settings=settings, folder=tmp_path)
    assert (code, len(output)) == (0, 1)


async def test_a_taken_port_is_one_line_that_names_it_and_its_setting(tmp_path: Path, database_url: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        code, output, errors = await run(
            "serve", settings=serve_settings(database_url, LISTEN=address), folder=tmp_path
        )
    assert (code, output, len(errors)) == (2, [], 1)
    assert errors[0].startswith(f"LINE_PROVIDER_LISTEN: cannot listen on {address}")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_server_that_gets_a_signal_ends_its_watches_and_exits_cleanly(
    tmp_path: Path, engine: AsyncEngine, database_url: str, number: signal.Signals
) -> None:
    async with (
        serving(serve_settings(database_url), tmp_path) as (process, port),
        grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel,
    ):
        stub = events_pb2_grpc.EventServiceStub(channel)
        call = stub.WatchEvents(events_pb2.WatchEventsRequest())
        first = await call.read()
        assert isinstance(first, events_pb2.WatchEventsResponse)
        assert first.HasField("snapshot_complete")
        process.send_signal(number)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call.read()
        assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
        async with asyncio.timeout(20):
            assert await process.wait() == 0


async def test_a_background_task_that_ends_is_one_line_and_exit_code_1(
    tmp_path: Path, engine: AsyncEngine, database_url: str
) -> None:
    (tmp_path / "sitecustomize.py").write_text("""
from line_provider.grpc_server.server import LineProviderServer

async def fail(server):
    raise RuntimeError("injected")

LineProviderServer._follow_database = fail
""")
    async with asyncio.timeout(30):
        code, output, errors = await run("serve", settings=serve_settings(database_url), folder=tmp_path)
    assert (code, output) == (1, [])
    (ended,) = [line for line in map(json.loads, errors) if line["level"] in {"error", "critical"}]
    assert (ended["event"], ended["task"], ended["error"]) == (
        "background_task_ended",
        "database-health",
        "RuntimeError('injected')",
    )


async def test_events_are_added_listed_and_cancelled(
    tmp_path: Path, engine: AsyncEngine, database_url: str, server: RunningServer
) -> None:
    settings = {"DATABASE_URL": database_url}
    watching = server.events.WatchEvents(events_pb2.WatchEventsRequest())
    await watching.read()
    code, output, errors = await run(
        "events", "add", "Night match", "--starts-at", "2026-06-11T20:00", "--timezone", "Europe/London",
        "--rate-until", "1d12h", "--description", "Wembley", "--external-id", "n1",
        settings=settings, folder=tmp_path,
    )  # fmt: skip
    assert (code, errors) == (0, [])
    (event_id,) = output
    sent = await watching.read()
    assert isinstance(sent, events_pb2.WatchEventsResponse)
    assert (str(sent.event.event_id), sent.event.description) == (event_id, "Wembley")

    code, _, errors = await run(
        "events", "add", "Again", "--starts-at", "2026-06-11T20:00Z", "--external-id", "n1",
        settings=settings, folder=tmp_path,
    )  # fmt: skip
    assert (code, errors) == (1, ["an event with the external_id 'n1' already exists"])
    code, _, errors = await run(
        "events", "add", "Too late", "--starts-at", "9999-12-30T20:00Z", settings=settings, folder=tmp_path
    )
    assert (code, errors) == (1, ["deadline: must be a time from the year 1 to the year 9999"])
    code, output, _ = await run("events", "list", "--phase", "closed", settings=settings, folder=tmp_path)
    assert code == 0
    assert output[0].split()[:2] == ["ID", "STARTS"]
    assert output[1].split() == [
        event_id, "2026-06-11", "19:00", "2026-06-13", "07:00", "closed", "processing", "0", "-", "Night", "match",
    ]  # fmt: skip
    code, output, _ = await run("events", "cancel", event_id, settings=settings, folder=tmp_path)
    assert (code, output) == (0, [f"Event {event_id} (Night match) is cancelled."])
    code, _, errors = await run("events", "cancel", "999", settings=settings, folder=tmp_path)
    assert (code, errors) == (1, ["event 999 does not exist"])


async def test_importing_twice_adds_nothing_twice_whatever_the_shift(
    tmp_path: Path, engine: AsyncEngine, database_url: str
) -> None:
    async def import_world_cup(*options: str) -> tuple[int | None, list[str], list[str]]:
        settings = {"DATABASE_URL": database_url}
        return await run("events", "import", str(WORLD_CUP), *options, settings=settings, folder=tmp_path)

    as_the_launcher_does = ("--rate-until", "48h", "--shift", "now", "--if-empty")
    assert await import_world_cup(*as_the_launcher_does) == (0, ["104 added, 0 existed already, 0 bad rows"], [])
    imported = await all_events(engine)
    assert await import_world_cup(*as_the_launcher_does) == (0, ["There are events already: nothing was imported."], [])
    assert await import_world_cup("--shift", "2031-05-01") == (0, ["0 added, 104 existed already, 0 bad rows"], [])
    assert await all_events(engine) == imported
    assert imported[0].title == "Mexico – South Africa"


async def test_bad_rows_are_named_and_the_rest_is_imported(
    tmp_path: Path, engine: AsyncEngine, database_url: str
) -> None:
    file = tmp_path / "talks.csv"
    file.write_text("\ufefftitle,starts_at\nFine,2026-06-11T19:00\nNo time,2026-06-11\n")
    outcome = await run("events", "import", str(file), settings={"DATABASE_URL": database_url}, folder=tmp_path)
    assert outcome == (
        1,
        ["1 added, 0 existed already, 1 bad rows"],
        ["talks.csv: line 3: starts_at: '2026-06-11' has no time of day"],
    )
    assert [event.title for event in await all_events(engine)] == ["Fine"]


@pytest.mark.parametrize(
    ("option", "value"),
    [("--rate-until", "soon"), ("--timezone", "Atlantis/Center"), ("--shift", "tomorrow"), ("--format", "ical")],
)
def test_a_wrong_option_is_rejected_by_its_name(option: str, value: str) -> None:
    outcome = CliRunner().invoke(app, ["events", "import", str(WORLD_CUP), option, value])
    assert outcome.exit_code == 2
    assert option in outcome.output


def test_a_file_that_is_not_text_is_rejected_in_one_line(tmp_path: Path) -> None:
    file = tmp_path / "picture.csv"
    file.write_bytes(b"\x89PNG\xff\xfe")
    outcome = CliRunner().invoke(app, ["events", "import", str(file)])
    assert (outcome.exit_code, outcome.output) == (1, "picture.csv: not UTF-8 text\n")
