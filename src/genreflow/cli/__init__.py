"""The `genreflow` command.

Every command imports what it needs when it runs, so that help and usage errors are printed at once.
"""

import sys

import click

from genreflow.cli.classify_command import classify
from genreflow.cli.data_commands import audit, folds
from genreflow.cli.drift_command import drift
from genreflow.cli.feedback_commands import feedback
from genreflow.cli.registry_commands import registry
from genreflow.cli.remote_commands import pull, push
from genreflow.cli.retrain_command import retrain
from genreflow.cli.status_command import status
from genreflow.cli.training_commands import models, reproduce, tune
from genreflow.cli.use_command import use
from genreflow.logs import configure_logging, exit_with_errors


def main() -> None:
    """Run the command line; see `exit_with_errors`."""
    configure_logging(sys.stderr)
    with exit_with_errors():
        try:
            sys.exit(cli(prog_name="genreflow", standalone_mode=False))  # or Ctrl-C would be "Aborted!"
        except click.Abort:
            raise KeyboardInterrupt from None
        except click.ClickException as error:
            error.show()
            sys.exit(error.exit_code)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="genreflow")
def cli() -> None:
    """From a folder of music to a served genre classifier.

    Choose the music with `genreflow use DIR`, run the pipeline with `dvc repro`, look at trials and models with `mlflow
    ui`, serve the champion with `bentoml serve`. These commands do the rest.
    """


for command in (
    use,
    status,
    classify,
    audit,
    models,
    tune,
    reproduce,
    folds,
    registry,
    drift,
    feedback,
    retrain,
    push,
    pull,
):
    cli.add_command(command)
