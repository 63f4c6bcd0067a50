"""The command line `arq-worker`."""

import asyncio
import sys
from collections.abc import Awaitable, Callable, Coroutine
from typing import Annotated, Any, TypeVar

import typer
import uvloop
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection

from arq_worker import process
from arq_worker.line_provider_client import LineProviderClient, LineProviderUnavailable
from arq_worker.reconcile import Findings, Reconciler
from arq_worker.settings import EXAMPLE, Settings
from score_maker.saga import outbox
from score_maker.saga.outbox import StuckMessage
from score_maker.storage import locks
from scoreline_common.database import create_engine, is_unreachable
from scoreline_common.heartbeat import is_beating
from scoreline_common.line_provider_channel import open_channel
from scoreline_common.settings import load
from scoreline_common.telemetry import logs, tracing

T = TypeVar("T")

LOCK_RETRY_SECONDS = 0.5

app = typer.Typer(no_args_is_help=True, add_completion=False, help="Relays ratings to line_provider and settles them.")

outbox_app = typer.Typer(no_args_is_help=True, help="Inspect and retry the messages that are not settled yet.")
app.add_typer(outbox_app, name="outbox")


@app.command()
def run() -> None:
    """Relay ratings from score_maker's outbox to line_provider until SIGTERM or SIGINT.

    Exit with 1 if a background task ended by itself, which the log names.
    """
    settings = load(Settings, example=EXAMPLE)
    logs.configure(settings.log_format)
    with tracing.exporting("arq-worker", settings):
        failed_task = uvloop.run(process.run(settings))
    if failed_task is not None:
        raise typer.Exit(1)


@app.command()
def health() -> None:
    """Exit with 0 if the worker that uses ARQ_WORKER_HEARTBEAT_FILE has beaten lately, else with 1."""
    settings = load(Settings, example=EXAMPLE)
    raise typer.Exit(0 if is_beating(settings.heartbeat_file) else 1)


@app.command()
def reconcile() -> None:
    """Compare every rating with line_provider and repair those that differ, after a database was restored.

    Exit with 0 if nothing differed, else with 1. Repeat it until nothing differs.
    """
    settings = load(Settings, example=EXAMPLE)
    logs.configure(settings.log_format)

    async def run_once() -> Findings:
        found: list[Findings] = []
        database_url = settings.database_url.get_secret_value()
        engine = create_engine(database_url, pool_size=1)
        try:
            async with LineProviderClient(
                open_channel(settings.line_provider_address, settings.line_provider_credentials()),
                settings.line_provider_token.get_secret_value(),
                settings.rpc_timeout,
            ) as line_provider:
                reconciler = Reconciler(engine, line_provider)

                async def make_pass() -> None:
                    found.append(await reconciler.run(every_rating=True))

                # A running worker makes passes too, and two passes must not overlap.
                while True:
                    if await locks.run_exclusively(database_url, locks.RECONCILE, make_pass):
                        return found[0]
                    await asyncio.sleep(LOCK_RETRY_SECONDS)
        finally:
            await engine.dispose()

    try:
        findings = _run_on_database(run_once())
    except LineProviderUnavailable as error:
        print(f"ARQ_WORKER_LINE_PROVIDER_ADDRESS: line_provider does not answer: {error}", file=sys.stderr)
        raise typer.Exit(1) from None
    print(f"{findings.events} events compared, {findings.divergent} differed.")
    for repair, scores in findings.repaired.items():
        print(f"{scores} scores {repair.replace('_', ' ')}.")
    raise typer.Exit(1 if findings.divergent else 0)


@outbox_app.command("list")
def list_messages(limit: Annotated[int, typer.Option(min=1, max=10_000)] = 50) -> None:
    """Print the messages that are not settled yet, those with the most attempts first."""

    async def read(connection: AsyncConnection) -> tuple[outbox.Overview, list[StuckMessage]]:
        return await outbox.overview(connection), await outbox.list_stuck(connection, limit=limit)

    overview, messages = _in_database(read)
    for row in [("ID", "EVENT", "VERSION", "SCORE", "AGE", "TRIES", "NEXT", "LAST ERROR"), *map(_row, messages)]:
        print("{:>12}  {:>12}  {:>7}  {:>8}  {:>10}  {:>5}  {:>8}  {}".format(*row))
    print(f"{overview.messages} not settled, {len(messages)} shown.", file=sys.stderr)


@outbox_app.command()
def retry(
    ids: Annotated[list[int] | None, typer.Argument(help="Ids from `outbox list`.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="Retry all messages that wait for a retry.")] = False,
) -> None:
    """Make messages due now that wait for a retry. Messages that a worker has claimed stay with it."""
    if bool(ids) == everything:
        raise typer.BadParameter("give ids, or --all")
    print(f"{_in_database(lambda connection: outbox.retry(connection, ids or None))} messages are due now.")


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
    """Does the work in one transaction, and returns its result."""
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
    """Runs the work; if the database is unreachable, says so in one line and exits with 1."""
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
