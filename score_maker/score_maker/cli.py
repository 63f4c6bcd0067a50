"""The command line `score-maker`."""

import socket
import sys

import typer
import uvloop

from score_maker.http.server import prefork
from score_maker.http.server.server import Server, configured
from score_maker.settings import EXAMPLE, MigrationSettings, Settings
from score_maker.storage.migrate import migrate as migrate_database
from scoreline_common.settings import SETTINGS_ARE_WRONG, load
from scoreline_common.telemetry import logs, tracing
from scoreline_common.telemetry.metrics import export_build_info

app = typer.Typer(no_args_is_help=True, add_completion=False, help="Receives ratings of events over HTTP.")


@app.command()
def serve() -> None:
    """Serve the API until SIGTERM or SIGINT; then finish the requests in flight and stop."""
    settings = load(Settings, example=EXAMPLE)
    logs.configure(settings.log_format)
    listening = _listen(settings.host, settings.port)
    if settings.workers > 1:
        raise typer.Exit(prefork.serve(settings.workers, listening))
    _serve(settings, listening)


@app.command(hidden=True)
def worker(listening: int, alive: int) -> None:
    """Serve as one of several processes: on an open socket, until the other end of a pipe closes (both by number)."""
    settings = load(Settings, example=EXAMPLE)
    logs.configure(settings.log_format)
    _serve(settings, socket.socket(fileno=listening), alive)


@app.command()
def migrate() -> None:
    """Upgrade the database to this version's schema, and grant the services' roles their rights."""
    settings = load(MigrationSettings, example=EXAMPLE)
    logs.configure(settings.log_format)
    url = settings.owner_database_url or settings.database_url
    uvloop.run(migrate_database(url.get_secret_value(), app_role=settings.app_role, worker_role=settings.worker_role))


def _serve(settings: Settings, listening: socket.socket, alive: int | None = None) -> None:
    export_build_info("score-maker")
    with tracing.exporting("score-maker", settings):
        server = Server(configured(settings), alive)
        server.run(sockets=[listening])
    if server.has_failed:
        raise typer.Exit(1)


def _listen(host: str, port: int) -> socket.socket:
    try:
        return socket.create_server(
            (host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET, backlog=2048
        )
    except OSError as error:
        print(f"Cannot listen on {host} port {port}: {error.strerror}. SCORE_MAKER_PORT changes it.", file=sys.stderr)
        raise SystemExit(SETTINGS_ARE_WRONG) from None


def main() -> None:
    app()
