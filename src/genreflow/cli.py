"""The `genreflow` command. Every command imports what it needs itself, so that help and mistakes answer at once."""

import dataclasses
import json
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from genreflow.errors import GenreflowError
from genreflow.logs import configure_logging

if TYPE_CHECKING:
    from genreflow.registry.pointer import Pointer

BUNDLE = Path("models/champion")
POINTER = Path("models/champion.json")
REPRODUCED = Path("reports/reproduce")


def main() -> None:
    """Entry point; a mistake of the user's ends with its sentence and exit code 2, without a traceback."""
    configure_logging(sys.stderr)
    try:
        cli(prog_name="genreflow")
    except GenreflowError as error:
        print(f"genreflow: {error}", file=sys.stderr)
        sys.exit(2)


as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="genreflow")
def cli() -> None:
    """From a folder of music to a served genre classifier.

    The pipeline runs with `dvc repro`, its trials and models are seen with `mlflow ui`, and `bentoml serve` answers
    over HTTP. The commands here are for the rest.
    """


@cli.command()
@click.argument("paths", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--output", "-o", type=click.Path(path_type=Path), help="Write .csv, .jsonl or .parquet; else print.")
@click.option("--bundle", type=click.Path(path_type=Path), default=BUNDLE, show_default=True)
@click.option("--jobs", type=click.IntRange(min=1), help="Files at a time; by default one a core.")
@click.option(
    "--scheduler",
    envvar="DASK_SCHEDULER_ADDRESS",
    help="With --output: a Dask scheduler, such as tcp://host:8786, whose workers classify; by default the project's.",
)
@click.option("--resume/--restart", default=True, help="Go on with an --output that was interrupted, or begin anew.")
@as_json
@click.pass_context
def classify(
    context: click.Context,
    paths: tuple[Path, ...],
    output: Path | None,
    bundle: Path,
    jobs: int | None,
    scheduler: str | None,
    resume: bool,
    as_json: bool,
) -> None:
    """Name the genre of audio files, of all audio below folders, or of what lists name.

    A list is a .txt or .m3u with a path a line, or a .csv with a column path. The exit code is 1 if a file could not
    be classified; its row says why.
    """
    from genreflow.bundle import Bundle
    from genreflow.inference.audio_files import find_audio
    from genreflow.inference.batch import classify_files, iter_results, outcome
    from genreflow.inference.predictor import Predictor

    files = find_audio(paths)
    if Bundle.load(bundle).leaking:
        click.echo("note: this model was made with a split that leaks; its figures flatter", err=True)
    failed = 0
    if output is not None:
        scheduler = scheduler or _project_scheduler()
        summary = classify_files(files, bundle, output=output, n_jobs=jobs, scheduler=scheduler, resume=resume)
        failed = summary.failed
        if as_json:
            click.echo(json.dumps(summary.to_dict()))
        else:
            click.echo(
                f"{output}: {summary.classified} classified, {summary.abstained} not sure, {summary.failed} failed "
                f"in {summary.seconds:.1f} s" + (f", {summary.resumed} done before" if summary.resumed else "")
            )
    else:
        for answer in iter_results(files, Predictor(bundle), n_jobs=jobs):
            failed += outcome(answer) == "failed"
            if as_json:
                click.echo(json.dumps(answer))
            elif "error" in answer:
                click.echo(f"{answer['file']}: {answer['error']['message']}", err=True)
            else:
                click.echo(f"{answer['genre'] or 'not sure':<16} {answer['confidence']:6.1%}  {answer['file']}")
    if failed:
        context.exit(1)


def _project_scheduler() -> str | None:
    """The one that `featurize` takes, in a project's folder."""
    from genreflow.params import PARAMS_FILE, load_params

    return load_params().compute.scheduler if PARAMS_FILE.exists() else None


@cli.command()
@click.argument("path", metavar="DIR", type=click.Path(path_type=Path))
@click.option("--tracks", type=click.Path(path_type=Path), help="Table of genres and artists; see data/tracks.csv.")
@click.option("--min-seconds", type=click.FloatRange(min=0), default=1.0, show_default=True)
@click.option("--silence-db", type=click.FloatRange(max=0), default=-60.0, show_default=True, help="Peak [dBFS].")
@click.option("--clipped-share", type=click.FloatRange(0, 1), default=0.001, show_default=True)
@click.option(
    "--near-duplicates/--no-near-duplicates", default=True, help="Look for the same recording in other guise."
)
@click.option("--html", "page", type=click.Path(path_type=Path), help="Write a page with plots and pictures, too.")
@click.option("--jobs", type=click.IntRange(min=1), help="Files at a time; by default one a core.")
@as_json
def audit(path: Path, tracks: Path | None, page: Path | None, jobs: int | None, as_json: bool, **limits) -> None:
    """Look through music for tracks that cannot or should not be used.

    DIR is a folder of music (<genre>/[<artist>/]<file>), a folder of spectrograms, or an .npz of them. Nothing in it
    is changed.
    """
    from genreflow.audit.directory import audit_directory
    from genreflow.audit.summary import as_table

    draw = None
    if page is not None:
        from genreflow.reporting.audit.page import write_page  # Jinja and matplotlib, only where a page is wanted

        draw = partial(write_page, page)
    report = audit_directory(path, tracks_csv=tracks, draw=draw, n_jobs=jobs or -1, **limits)
    if as_json:
        click.echo(json.dumps(report.to_dict(), indent=2, ensure_ascii=False))
    else:
        click.echo(as_table(report, more="--json shows all"))


@cli.command()
@click.argument("name", required=False)
@click.option("--shape", default="80x80", show_default=True, help="Frames x mel bands of a segment.")
@click.option("--classes", type=click.IntRange(min=2), default=8, show_default=True)
@as_json
def models(name: str | None, shape: str, classes: int, as_json: bool) -> None:
    """List the architectures, or show the layers of one."""
    from genreflow.errors import ParameterError

    try:
        frames, bands = (int(size) for size in shape.lower().split("x"))
    except ValueError:
        raise ParameterError(f"--shape is {shape!r}; frames x mel bands such as 80x80 is right.") from None
    from genreflow.models import build_model, describe
    from genreflow.models.description import details, table
    from genreflow.models.start import import_keras

    import_keras()
    rows = describe(*([name] if name else []), input_shape=(frames, bands), classes=classes)
    if as_json:
        click.echo(json.dumps(rows, indent=2))
        return
    for line in [*table(rows), *(details(rows[0]) if name else [])]:
        click.echo(line)
    if name:
        build_model(name, input_shape=(frames, bands), classes=classes).summary(expand_nested=True, print_fn=click.echo)


@cli.command()
@click.argument("names", nargs=-1)
@click.option(
    "--minutes-per-system", "minutes", type=click.FloatRange(min=0, min_open=True), help="By default, as published."
)
@click.option("--epochs", type=click.IntRange(min=1), help="Of a fit at most; by default, as published.")
@click.option("--folder", type=click.Path(path_type=Path), default=REPRODUCED, show_default=True)
@as_json
@click.pass_context
def reproduce(
    context: click.Context,
    names: tuple[str, ...],
    minutes: float | None,
    epochs: int | None,
    folder: Path,
    as_json: bool,
) -> None:
    """Train published systems as their authors did, and honestly; write one table.

    NAMES are those of `genreflow models`; without any, all of them. It works on the data of the project, as `dvc repro
    split` leaves them. What is finished stays in the folder: a second call fits what is missing.
    """
    from genreflow.reproduction import reproduce
    from genreflow.stages.material import load_material

    records = reproduce(
        names, load_material(), folder, minutes=minutes, epochs=epochs, say=partial(click.echo, err=as_json)
    )
    if as_json:
        click.echo(json.dumps(records, indent=2))
    else:
        click.echo((folder / "table.md").read_text("utf-8"))
    if any(record["status"] == "failed" for record in records):
        context.exit(1)


@cli.command()
@click.option("--worker", is_flag=True, help="Take part in a study that another worker leads; write no reports.")
def tune(worker: bool) -> None:
    """Run the project's study, or take part in it.

    `dvc repro` runs it as well, and remembers that it did. A worker, on this machine or another, needs the same
    params.yaml and data (`dvc pull`), Optuna's storage (compute.storage, or GENREFLOW_STORAGE: a PostgreSQL database)
    and MLflow's server (MLFLOW_TRACKING_URI). It begins trials until the study is over.
    """
    from genreflow.stages import tune as stage
    from genreflow.stages.study import work

    if not worker:
        stage.main()
        return
    with work(lead=False):
        pass


@cli.command()
@click.argument("experiments", nargs=-1)
@as_json
def folds(experiments: tuple[str, ...], as_json: bool) -> None:
    """Put the folds of a k-fold split together: one figure, for which every track was tested once.

    EXPERIMENTS are those of `dvc exp show`; without any, all of the present commit that were split by kfold.
    """
    from genreflow.splits.folds import pool, read_folds
    from genreflow.stages import PREDICTIONS, SPLIT

    found = pool(read_folds(".", experiments, split=SPLIT, predictions=PREDICTIONS))
    if as_json:
        click.echo(json.dumps(found, indent=2))
        return
    for fold in found["folds"]:
        click.echo(
            f"fold {fold['fold']:<3} {fold['accuracy']:6.1%}  of {fold['tracks']:>6} tracks  {fold['experiment']}"
        )
    click.echo(
        f"all      {found['accuracy']:6.1%}  of {found['tracks']:>6} tracks  (95 %: {found['accuracy_low']:.1%} to "
        f"{found['accuracy_high']:.1%}), macro F1 {found['macro_f1']:.3f}; over folds {found['accuracy_mean']:.1%} "
        f"with a standard deviation of {100 * found['accuracy_std']:.1f} points"
    )


@cli.group()
def registry() -> None:
    """The registered models: which there are, which one is champion, and going back."""


@registry.command("list")
@as_json
def registry_list(as_json: bool) -> None:
    """List the registered versions, newest first."""
    from genreflow.registry.model_registry import Registry

    versions = Registry.open().versions()
    if as_json:
        click.echo(json.dumps([version.to_dict() for version in versions], indent=2))
        return
    for version in versions:
        named = (f"{mark}{part}_track_accuracy" for mark in ("", "leaking_") for part in ("test", "valid"))
        accuracy = next((version.metrics[name] for name in named if name in version.metrics), None)
        click.echo(
            f"{version.version:>4}  {'-' if accuracy is None else f'{accuracy:.1%}':>6}  {version.created}  "
            f"{version.bundle_hash[:12]}  {', '.join((*version.aliases, *(['LEAKING'] if version.leaking else [])))}"
        )
    if not versions:
        click.echo("No model is registered yet; `dvc repro` registers the first.")


@registry.command()
@click.argument("version")
@as_json
def promote(version: str, as_json: bool) -> None:
    """Make VERSION the champion; `dvc repro` then packages it."""
    from genreflow.registry.model_registry import Registry

    _show(Registry.open().promote(version, POINTER), as_json)


@registry.command()
@as_json
def rollback(as_json: bool) -> None:
    """Make the champion before this one champion again; `dvc repro` then packages it."""
    from genreflow.registry.model_registry import Registry

    _show(Registry.open().rollback(POINTER), as_json)


def _show(pointer: "Pointer", as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(dataclasses.asdict(pointer), indent=2))
    else:
        click.echo(f"Version {pointer.champion.version} is the champion; `dvc repro` packages it.")
