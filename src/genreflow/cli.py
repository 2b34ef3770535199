"""The `genreflow` command. Every command imports what it needs itself, so that help and mistakes answer at once."""

import dataclasses
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from genreflow.errors import GenreflowError

if TYPE_CHECKING:
    from genreflow.tracking.pointer import Pointer

BUNDLE = Path("models/champion")
POINTER = Path("models/champion.json")


def main() -> None:
    """Entry point; a mistake of the user's ends with its sentence and exit code 2, without a traceback."""
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
@as_json
def classify(paths: tuple[Path, ...], output: Path | None, bundle: Path, jobs: int | None, as_json: bool) -> None:
    """Name the genre of audio files, or of all audio below folders."""
    from genreflow.serving.batch import classify_files, find_audio, iter_results
    from genreflow.serving.predictor import Predictor

    files = find_audio(paths)
    if output is not None:
        summary = classify_files(files, bundle, output=output, n_jobs=jobs, progress=True)
        if as_json:
            click.echo(json.dumps(summary.to_dict()))
        else:
            click.echo(
                f"{output}: {summary.classified} classified, {summary.abstained} not sure, {summary.failed} failed "
                f"in {summary.seconds:.1f} s"
            )
        return
    for answer in iter_results(files, Predictor(bundle), n_jobs=jobs):
        if as_json:
            click.echo(json.dumps(answer))
        elif "error" in answer:
            click.echo(f"{answer['file']}: {answer['error']['message']}", err=True)
        else:
            click.echo(f"{answer['genre'] or 'not sure':<16} {answer['confidence']:6.1%}  {answer['file']}")


@cli.command()
@click.argument("directory", type=click.Path(path_type=Path))
@click.option("--min-seconds", type=click.FloatRange(min=0), default=1.0, show_default=True)
@click.option("--silence-db", type=click.FloatRange(max=0), default=-60.0, show_default=True, help="Peak [dBFS].")
@as_json
def audit(directory: Path, min_seconds: float, silence_db: float, as_json: bool) -> None:
    """Look through a folder of music (<genre>/[<artist>/]<file>) for tracks that cannot or should not be used."""
    from genreflow.datasets.audit import audit_directory

    report = audit_directory(directory, min_seconds=min_seconds, silence_db=silence_db)
    if as_json:
        click.echo(json.dumps(report.to_dict(), indent=2, ensure_ascii=False))
        return
    for fault in report.faults:
        click.echo(f"{'leave out' if fault.leave_out else 'notice   '}  {fault.code:<18} {fault.message}")
    click.echo(", ".join(f"{count} {name}" for name, count in report.counts.items()) or "no faults")


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
    from genreflow.models.start import import_keras

    import_keras()
    rows = describe(*([name] if name else []), input_shape=(frames, bands), classes=classes)
    if as_json:
        click.echo(json.dumps(rows, indent=2))
        return
    for row in rows:
        click.echo(f"{row['name']:<16} {row['parameters']:>12,}  {row['reported'] or '-':<28}  {row['origin']}")
    if name:
        build_model(name, input_shape=(frames, bands), classes=classes).summary(expand_nested=True, print_fn=click.echo)


@cli.group()
def registry() -> None:
    """The registered models: which there are, which one is champion, and going back."""


@registry.command("list")
@as_json
def registry_list(as_json: bool) -> None:
    """List the registered versions, newest first."""
    from genreflow.tracking.registry import Registry

    versions = Registry.open().versions()
    if as_json:
        click.echo(json.dumps([version.to_dict() for version in versions], indent=2))
        return
    for version in versions:
        accuracy = version.metrics.get("test_track_accuracy", version.metrics.get("valid_track_accuracy"))
        click.echo(
            f"{version.version:>4}  {'-' if accuracy is None else f'{accuracy:.1%}':>6}  {version.created}  "
            f"{version.bundle_hash[:12]}  {', '.join(version.aliases)}"
        )
    if not versions:
        click.echo("No model is registered yet; `dvc repro` registers the first.")


@registry.command()
@click.argument("version")
@as_json
def promote(version: str, as_json: bool) -> None:
    """Make VERSION the champion; `dvc repro` then packages it."""
    from genreflow.tracking.registry import Registry

    _show(Registry.open().promote(version, POINTER), as_json)


@registry.command()
@as_json
def rollback(as_json: bool) -> None:
    """Make the champion before this one champion again; `dvc repro` then packages it."""
    from genreflow.tracking.registry import Registry

    _show(Registry.open().rollback(POINTER), as_json)


def _show(pointer: "Pointer", as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(dataclasses.asdict(pointer), indent=2))
    else:
        click.echo(f"Version {pointer.champion.version} is the champion; `dvc repro` packages it.")
