"""The `genreflow` command.

Every command imports what it needs when it runs, so that help and usage errors are printed at once.
"""

import sys

import click

from genreflow.cli.classify_command import classify
from genreflow.cli.data_commands import audit, folds
from genreflow.cli.registry_commands import registry
from genreflow.cli.training_commands import models, reproduce, tune
from genreflow.errors import GenreflowError
from genreflow.logs import configure_logging


def main() -> None:
    """Run the command line; a `GenreflowError` is printed without a traceback, with exit code 2."""
    configure_logging(sys.stderr)
    try:
        cli(prog_name="genreflow")
    except GenreflowError as error:
        print(f"genreflow: {error}", file=sys.stderr)
        sys.exit(2)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="genreflow")
def cli() -> None:
    """From a folder of music to a served genre classifier.

    Run the pipeline with `dvc repro`, look at trials and models with `mlflow ui`, serve the champion with `bentoml
    serve`. These commands do the rest.
    """


for command in (classify, audit, models, tune, reproduce, folds, registry):
    cli.add_command(command)
