"""The command line `line-provider`."""

import os
import sys
from collections.abc import Awaitable, Callable, Coroutine
from datetime import UTC, date, datetime, timedelta, tzinfo
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Never, TypeVar

import typer
import uvloop
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection

from line_provider.events.changes import cancel_event, create_event, create_missing_events
from line_provider.events.domain import (
    Event,
    EventDraft,
    EventFinal,
    EventNotFound,
    ExternalIdTaken,
    Invalid,
    Order,
    Phase,
    Status,
    check_event_id,
    check_text,
    phase_of,
)
from line_provider.events.queries import EventFilter, any_event_exists, list_events
from line_provider.importing.importer import Format, read_file
from line_provider.importing.rows import ImportOptions, UnreadableFile, default_deadline
from line_provider.importing.times import ShiftTooFar, parse_duration, parse_zone, shift_to, shift_to_now, to_utc
from line_provider.settings import EXAMPLE, DatabaseSettings, MigrationSettings, Settings
from line_provider.storage.migrate import migrate as migrate_database
from scoreline_common.database import create_engine, is_not_migrated, is_unreachable
from scoreline_common.settings import load
from scoreline_common.telemetry import logs, tracing

T = TypeVar("T")
Shift = Callable[[list[EventDraft]], list[EventDraft]]

app = typer.Typer(no_args_is_help=True, add_completion=False, help="Owns events and the totals of their ratings.")
events_app = typer.Typer(no_args_is_help=True, help="Add, list, cancel and import events, directly in the database.")
app.add_typer(events_app, name="events")


@app.command()
def serve() -> None:
    """Serve gRPC until SIGTERM or SIGINT."""
    settings = load(Settings, example=EXAMPLE)
    logs.configure(settings.log_format)
    # Keeps gRPC's core from adding lines to ours when a port is taken. It reads this when it is imported.
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    from line_provider.grpc_server import server  # noqa: PLC0415

    try:
        with tracing.exporting("line-provider", settings):
            uvloop.run(server.serve(settings))
    except server.AddressTaken as taken:
        variable = "LINE_PROVIDER_HEALTH_LISTEN" if str(taken) == settings.health_listen else "LINE_PROVIDER_LISTEN"
        _fail(
            f"{variable}: cannot listen on {taken}: another process does, or it is not an address of this machine.",
            code=2,
        )
    except server.BackgroundTaskFailed:
        # The log has the task and the reason.
        raise typer.Exit(1) from None


@app.command()
def health() -> None:
    """Exit with 0 if the server of this machine is serving, else with 1: for container probes."""
    settings = load(Settings, example=EXAMPLE)
    if settings.tls_certificate is not None and settings.health_listen is None:
        _fail("LINE_PROVIDER_HEALTH_LISTEN: is missing; a probe needs it when TLS is on.", code=2)
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    from line_provider.grpc_server import probe  # noqa: PLC0415

    raise typer.Exit(0 if probe.is_serving(settings.health_listen or settings.listen) else 1)


@app.command()
def migrate() -> None:
    """Upgrade the database to the schema of this version, and grant the service's role its rights."""
    settings = load(MigrationSettings, example=EXAMPLE)
    logs.configure(settings.log_format)
    url = settings.owner_database_url or settings.database_url
    _run(migrate_database(url.get_secret_value(), settings.app_role))


def _time(text: str) -> datetime:
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        raise typer.BadParameter("must look like 2026-06-11T19:00 or 2026-06-11T19:00Z") from None


def _duration(text: str) -> timedelta:
    try:
        return parse_duration(text)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None


def _zone(name: str) -> tzinfo:
    try:
        return parse_zone(name)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None


def _shift(text: str) -> Shift:
    if text == "now":
        return partial(shift_to_now, now=datetime.now(UTC))
    try:
        return partial(shift_to, first_day=date.fromisoformat(text))
    except ValueError:
        raise typer.BadParameter("must be 'now' or a date like 2026-06-11") from None


RateUntil = Annotated[
    timedelta,
    typer.Option(
        parser=_duration,
        metavar="DURATION",
        help="How long after its start an event may be rated: 48h, 90m, 2d, 1d12h.",
    ),
]
Zone = Annotated[tzinfo, typer.Option(parser=_zone, metavar="ZONE", help="The zone of times without an offset.")]


@events_app.command()
def add(
    title: str,
    starts_at: Annotated[datetime, typer.Option(parser=_time, metavar="TIME", help="For example 2026-06-11T19:00Z.")],
    deadline: Annotated[
        datetime | None,
        typer.Option(parser=_time, metavar="TIME", help="The last moment to rate; instead of --rate-until."),
    ] = None,
    rate_until: RateUntil = "48h",  # type: ignore[assignment]  # the parser makes it a duration
    timezone: Zone = "UTC",  # type: ignore[assignment]
    description: str = "",
    external_id: Annotated[str, typer.Option(help="Your own id of the event; unique.")] = "",
) -> None:
    """Add one event and print its id."""

    async def create(connection: AsyncConnection) -> Event:
        start = to_utc("starts_at", starts_at, timezone)
        draft = EventDraft(
            title=title,
            description=description,
            starts_at=start,
            deadline=to_utc("deadline", deadline, timezone) if deadline else default_deadline(start, rate_until),
            external_id=external_id or None,
        )
        return await create_event(connection, draft)

    print(_in_database(create).event_id)


@events_app.command("list")
def print_events(
    status: Status | None = None,
    phase: Phase | None = None,
    query: Annotated[str, typer.Option(help="Only events whose title or description contains this.")] = "",
    order: Order = Order.DEADLINE,
    limit: Annotated[int, typer.Option(min=1)] = 1000,
) -> None:
    """Print the events as a table."""

    async def read(connection: AsyncConnection) -> list[Event]:
        which = EventFilter(status, phase, check_text("query", query, at_most=200))
        return await list_events(connection, which, order, limit=limit + 1)

    found = _in_database(read)
    for line in _table(found[:limit], datetime.now(UTC)):
        print(line)
    if len(found) > limit:
        print(f"Only the first {limit} events are shown.", file=sys.stderr)


@events_app.command()
def cancel(event_id: int) -> None:
    """Cancel an event for good; ratings that were applied before still count."""

    async def cancel_checked(connection: AsyncConnection) -> Event:
        return await cancel_event(connection, check_event_id(event_id))

    event = _in_database(cancel_checked)
    print(f"Event {event.event_id} ({event.title}) is cancelled.")


@events_app.command("import")
def import_events(
    file: Annotated[Path, typer.Argument(exists=True, dir_okay=False, readable=True)],
    file_format: Annotated[Format, typer.Option("--format")] = Format.AUTO,
    rate_until: RateUntil = "48h",  # type: ignore[assignment]
    timezone: Zone = "UTC",  # type: ignore[assignment]
    shift: Annotated[
        Shift | None,
        typer.Option(
            parser=_shift,
            metavar="DATE|now",
            help="Move all events by the same time: the first to that day, or so that two thirds have started by now.",
        ),
    ] = None,
    source_name: Annotated[
        str | None,
        typer.Option(help="Keeps the ids of these events apart from other files' (default: the file's own name)."),
    ] = None,
    if_empty: Annotated[bool, typer.Option("--if-empty", help="Do nothing if there are events already.")] = False,
) -> None:
    """Import matches (openfootball's JSON), CSV or JSON lines. Events that exist already are not changed.

    CSV and JSON lines need title and starts_at, and may have description, deadline and external_id.
    """

    try:
        imported = read_file(file.read_bytes(), file_format, ImportOptions(rate_until, timezone, source_name))
        drafts = shift(imported.drafts) if shift else imported.drafts
    except (UnreadableFile, ShiftTooFar) as error:
        _fail(f"{file.name}: {error}", code=1)

    async def add_missing(connection: AsyncConnection) -> int | None:
        if if_empty and await any_event_exists(connection):
            return None
        return len(await create_missing_events(connection, drafts))

    added = _in_database(add_missing)
    if added is None:
        print("There are events already: nothing was imported.")
        return
    for bad in imported.bad_rows:
        print(f"{file.name}: {bad.place}: {bad.reason}", file=sys.stderr)
    print(f"{added} added, {len(drafts) - added} existed already, {len(imported.bad_rows)} bad rows")
    if imported.bad_rows:
        raise typer.Exit(1)


def _table(listed: list[Event], now: datetime) -> list[str]:
    rows = [("ID", "STARTS (UTC)", "RATE UNTIL (UTC)", "PHASE", "STATUS", "RATINGS", "AVERAGE", "TITLE")]
    for event in listed:
        average = f"{event.totals.sum / event.totals.count:.2f}" if event.totals.count else "-"
        rows.append(
            (
                str(event.event_id),
                f"{event.starts_at:%Y-%m-%d %H:%M}",
                f"{event.deadline:%Y-%m-%d %H:%M}",
                phase_of(event, now),
                event.status,
                str(event.totals.count),
                average,
                event.title,
            )
        )
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]) - 1)]
    # The title is the last column and needs no padding.
    return ["  ".join((*map(str.ljust, row, widths), row[-1])) for row in rows]


def _in_database(work: Callable[[AsyncConnection], Awaitable[T]]) -> T:
    """Does the work in one transaction. Errors that the user can act on are one line, and exit with 1."""
    settings = load(DatabaseSettings, example=EXAMPLE)
    logs.configure(settings.log_format)

    async def in_transaction() -> T:
        engine = create_engine(settings.database_url.get_secret_value(), pool_size=1)
        try:
            async with engine.begin() as connection:
                return await work(connection)
        finally:
            await engine.dispose()

    return _run(in_transaction())


def _run(work: Coroutine[Any, Any, T]) -> T:
    try:
        return uvloop.run(work)
    except (EventFinal, EventNotFound, ExternalIdTaken, Invalid) as error:
        _fail(str(error), code=1)
    except (SQLAlchemyError, OSError, TimeoutError) as error:
        if is_unreachable(error):
            reason = str(getattr(error, "orig", None) or error).splitlines()[0]
            _fail(f"LINE_PROVIDER_DATABASE_URL: the database is unreachable: {reason}", code=1)
        if is_not_migrated(error):
            _fail("The database does not have the schema of this version: run `line-provider migrate` first.", code=1)
        raise


def _fail(sentence: str, *, code: int) -> Never:
    print(sentence, file=sys.stderr)
    raise typer.Exit(code)


def main() -> None:
    app()
