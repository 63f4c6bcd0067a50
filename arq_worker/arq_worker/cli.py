"""The command line `arq-worker`."""

import typer
import uvloop

from arq_worker import worker
from arq_worker.settings import load_settings

app = typer.Typer(no_args_is_help=True, add_completion=False, help="Carries ratings to line_provider.")


@app.command()
def run() -> None:
    """Relay ratings from score_maker's outbox to line_provider until told to stop."""
    uvloop.run(worker.run(load_settings()))


@app.command()
def health() -> None:
    """Exit with 0 if a worker has reported lately, else with 1."""
    raise typer.Exit(0 if uvloop.run(worker.is_healthy(load_settings())) else 1)


def main() -> None:
    app()
