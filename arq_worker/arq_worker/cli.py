"""The command line `arq-worker`."""

import sys
from collections.abc import Awaitable, Callable, Coroutine
from typing import Annotated, Any, TypeVar

import typer
import uvloop
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection

from arq_worker import process
from arq_worker.line_provider_client import LineProviderAway, LineProviderClient
from arq_worker.reconcile import Findings, Reconciler
from arq_worker.settings import EXAMPLE, Settings
from score_maker.saga import outbox
from score_maker.saga.outbox import StuckMessage
from scoreline_common.database import create_engine, is_unreachable
from scoreline_common.line_provider_channel import open_channel
from scoreline_common.settings import load
from scoreline_common.telemetry import logs, tracing

T = TypeVar("T")

app = typer.Typer(no_args_is_help=True, add_completion=False, help="Carries ratings to line_provider.")

outbox_app = typer.Typer(no_args_is_help=True, help="See and hasten the ratings that are not settled yet.")
app.add_typer(outbox_app, name="outbox")


@app.command()
def run() -> None:
    """Relay ratings from score_maker's outbox to line_provider until told to stop."""
    settings = load(Settings, example=EXAMPLE)
    logs.configure(settings.log_format)
    with tracing.exporting("arq-worker", settings):
        uvloop.run(process.run(settings))


@app.command()
def health() -> None:
    """Exit with 0 if a worker has reported lately, else with 1."""
    settings = load(Settings, example=EXAMPLE)
    raise typer.Exit(0 if uvloop.run(process.is_healthy(settings)) else 1)


@app.command()
def reconcile() -> None:
    """Compare every rating with line_provider and mend what differs, as after a database was restored from a backup.

    Exit with 0 where nothing differed, with 1 where something did: then once more, until nothing does.
    """
    settings = load(Settings, example=EXAMPLE)
    logs.configure(settings.log_format)

    async def run_once() -> Findings:
        engine = create_engine(settings.database_url.get_secret_value(), pool_size=1)
        try:
            async with LineProviderClient(
                open_channel(settings.line_provider_address, settings.line_provider_credentials()),
                settings.line_provider_token.get_secret_value(),
                settings.rpc_timeout,
            ) as line_provider:
                return await Reconciler(engine, line_provider).run(every_rating=True)
        finally:
            await engine.dispose()

    try:
        findings = _run_on_database(run_once())
    except LineProviderAway as error:
        print(f"ARQ_WORKER_LINE_PROVIDER_ADDRESS: line_provider does not answer: {error}", file=sys.stderr)
        raise typer.Exit(1) from None
    print(f"{findings.events} events compared, {findings.divergent} differed.")
    for mending, scores in findings.mended.items():
        print(f"{scores} ratings {mending.replace('_', ' ')}.")
    raise typer.Exit(1 if findings.divergent else 0)


@outbox_app.command("list")
def list_messages(limit: Annotated[int, typer.Option(min=1, max=10_000)] = 50) -> None:
    """Print the ratings that wait, the most often tried first."""

    async def read(connection: AsyncConnection) -> tuple[outbox.Overview, list[StuckMessage]]:
        return await outbox.overview(connection), await outbox.list_stuck(connection, limit=limit)

    overview, messages = _in_database(read)
    for row in [("ID", "EVENT", "VERSION", "SCORE", "AGE", "TRIES", "NEXT", "LAST ERROR"), *map(_row, messages)]:
        print("{:>12}  {:>12}  {:>7}  {:>8}  {:>10}  {:>5}  {:>8}  {}".format(*row))
    print(f"{overview.messages} not settled, {len(messages)} shown.", file=sys.stderr)


@outbox_app.command()
def retry(
    ids: Annotated[list[int] | None, typer.Argument(help="Ids from `outbox list`.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="Every rating that waits.")] = False,
) -> None:
    """Have ratings sent now that would be tried again later. What a worker holds already is left to it."""
    if bool(ids) == everything:
        raise typer.BadParameter("name ids, or --all")
    print(f"{_in_database(lambda connection: outbox.retry(connection, ids or None))} will be sent now.")


def _row(message: StuckMessage) -> tuple[str, ...]:
    seconds_left = max(0, message.next_attempt_in.total_seconds())
    return (
        str(message.id),
        str(message.event_id),
        str(message.version),
        "withdraw" if message.value is None else str(message.value),
        f"{message.age.total_seconds():.0f} s",
        str(message.attempts),
        "claimed" if message.is_claimed else f"{seconds_left:.0f} s",
        (message.last_error or "").partition("\n")[0],
    )


def _in_database(work: Callable[[AsyncConnection], Awaitable[T]]) -> T:
    """Does the work in one transaction."""
    settings = load(Settings, example=EXAMPLE)

    async def in_transaction() -> T:
        engine = create_engine(settings.database_url.get_secret_value(), pool_size=1)
        try:
            async with engine.begin() as connection:
                return await work(connection)
        finally:
            await engine.dispose()

    return _run_on_database(in_transaction())


def _run_on_database(work: Coroutine[Any, Any, T]) -> T:
    """Runs it; a database that is away is told in a sentence."""
    try:
        return uvloop.run(work)
    except (SQLAlchemyError, OSError, TimeoutError) as error:
        if not is_unreachable(error):
            raise
        reason = str(getattr(error, "orig", None) or error).splitlines()[0]
        print(f"ARQ_WORKER_DATABASE_URL: the database cannot be reached: {reason}", file=sys.stderr)
        raise typer.Exit(1) from None


def main() -> None:
    app()
