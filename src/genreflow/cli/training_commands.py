"""`genreflow models`, `genreflow tune` and `genreflow reproduce`: architectures, studies and published systems."""

import json
from pathlib import Path

import click

from genreflow.cli.parameter_options import json_option
from genreflow.cli.paths import OutputPath


@click.command()
@click.argument("name", required=False)
@click.option("--shape", default="80x80", show_default=True, help="Shape of a segment: frames x mel bands.")
@click.option("--classes", type=click.IntRange(min=2), default=8, show_default=True, help="Number of genres.")
@json_option
def models(name: str | None, shape: str, classes: int, as_json: bool) -> None:
    """List the architectures, or describe one."""
    from genreflow.errors import ParameterError

    try:
        frames, bands = (int(size) for size in shape.lower().split("x"))
    except ValueError:
        raise ParameterError(f"--shape must be frames x mel bands, such as 80x80; got {shape!r}.") from None
    from genreflow.models import build_model, describe
    from genreflow.models.description import format_details, format_models
    from genreflow.models.keras_import import import_keras

    import_keras()
    rows = describe(*([name] if name else []), input_shape=(frames, bands), classes=classes)
    if as_json:
        click.echo(json.dumps(rows, indent=2))
        return
    for line in [*format_models(rows), *(format_details(rows[0]) if name else [])]:
        click.echo(line)
    if name:
        build_model(name, input_shape=(frames, bands), classes=classes).summary(expand_nested=True, print_fn=click.echo)


@click.command()
@click.option("--worker", is_flag=True, help="Run trials of a study that another process leads; write no reports.")
def tune(worker: bool) -> None:
    """Run the study of this project, or trials of it.

    `dvc repro` runs the study, too, and caches its result. A worker, on this machine or another, needs the same
    params.yaml and data (`dvc pull`), Optuna's storage (compute.storage or GENREFLOW_STORAGE: a PostgreSQL database)
    and an MLflow server (MLFLOW_TRACKING_URI). It starts trials until the study is complete.
    """
    from genreflow.stages import tune as stage
    from genreflow.stages.study_worker import run_worker

    if not worker:
        stage.main()
        return
    with run_worker(lead=False):
        pass


@click.command()
@click.argument("names", nargs=-1)
@click.option(
    "--minutes-per-system",
    "minutes",
    type=click.FloatRange(min=0, min_open=True),
    help="Training time per system.  [default: no limit]",
)
@click.option("--epochs", type=click.IntRange(min=1), help="Maximum epochs per fit.  [default: as published]")
@click.option(
    "--folder",
    type=OutputPath(folder=True),
    default=Path("reports/reproduce"),
    show_default=True,
    help="Results are written here.",
)
@json_option
@click.pass_context
def reproduce(
    context: click.Context,
    names: tuple[str, ...],
    minutes: float | None,
    epochs: int | None,
    folder: Path,
    as_json: bool,
) -> None:
    """Train published systems with and without leakage.

    Each system is fitted under its authors' protocol and on the group-disjoint split of the project, and both results
    are put next to what the authors report.

    NAMES are architectures that `genreflow models` lists.  [default: all] The data are those of the
    project after `dvc repro split`. Finished fits are kept in the folder: a second call continues.
    """
    from genreflow.reproduction import reproduce
    from genreflow.stages.project_data import load_project_data

    records = reproduce(names, load_project_data(), folder, minutes=minutes, epochs=epochs)
    if as_json:
        click.echo(json.dumps(records, indent=2))
    else:
        click.echo((folder / "table.md").read_text("utf-8"))
    if any(record["status"] == "failed" for record in records):
        context.exit(1)
