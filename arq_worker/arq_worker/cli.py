"""The command line `arq-worker`."""

import typer
import uvloop

from arq_worker import worker
from arq_worker.settings import EXAMPLE, Settings
from score_maker import logs
from score_maker.configuration import load

app = typer.Typer(no_args_is_help=True, add_completion=False, help="Carries ratings to line_provider.")


@app.command()
def run() -> None:
    """Relay ratings from score_maker's outbox to line_provider until told to stop."""
    settings = load(Settings, example=EXAMPLE)
    logs.configure(settings.log_format)
    uvloop.run(worker.run(settings))


@app.command()
def health() -> None:
    """Exit with 0 if a worker has reported lately, else with 1."""
    settings = load(Settings, example=EXAMPLE)
    raise typer.Exit(0 if uvloop.run(worker.is_healthy(settings)) else 1)


def main() -> None:
    app()
