"""`genreflow use`: choose the music of the project."""

import json
import os
import subprocess
from pathlib import Path

import click

from genreflow.cli.parameter_options import json_option
from genreflow.cli.paths import InputPath

DEMO, DEMO_PATH, DEMO_TRACKS = "demo", "data/demo.yaml", "data/tracks.csv"


@click.command()
@click.argument("source", metavar="DIR|demo")
@click.option(
    "--source",
    "kind",
    type=click.Choice(["folder", "spectrograms", "gtzan", "fma"]),
    help="What DIR is; gtzan and fma are downloaded into an empty DIR.  [default: detected]",
)
@json_option
def use(source: str, kind: str | None, as_json: bool) -> None:
    """Choose the music of this project.

    It is written to the section data of params.yaml, and gate.registered_model is named after it, so that its models
    are not compared with those of other music. DIR is a folder of music (<genre>/[<artist>/]<file>), a copy of
    GTZAN or the FMA, a folder of spectrograms, or an .npz of them. `demo` is the built-in demo music; ./demo is a
    folder of that name. Nothing is copied before `dvc repro`.
    """
    from genreflow.params_edit import use_source
    from genreflow.registry.params import GateParams, model_name_of_music

    genres: dict[str, int] = {}
    if source == DEMO and kind is None:
        kind, path = DEMO, DEMO_PATH
        model = use_source(kind, path, tracks=DEMO_TRACKS)
    else:
        kind, path, genres = _check(source, kind)
        model = use_source(kind, path, registered_model=model_name_of_music(Path(os.path.abspath(path))))
    following = _next_commands()
    if as_json:
        content = {"source": kind, "path": path, "genres": genres, "registered_model": model, "next": following}
        click.echo(json.dumps(content, ensure_ascii=False))
        return
    click.echo(f"params.yaml: data.source is {kind}, data.path is {path}")
    name = GateParams(registered_model=model).model_name(kind)
    click.echo(f"Models of this music are versions of {name} (gate.registered_model), which has its own champion.")
    if genres:
        counts = ", ".join(f"{genre} {number}" for genre, number in genres.items())
        click.echo(f"{sum(genres.values())} tracks of {len(genres)} genres: {counts}")
    click.echo(f"Next: {' && '.join(following)}")


def _check(given: str, kind: str | None) -> tuple[str, str, dict[str, int]]:
    """Return source, path as params.yaml has it, and number of tracks by genre."""
    from genreflow.datasets.detect import check_source, detect_source
    from genreflow.datasets.options import IngestOptions, read_table
    from genreflow.datasets.sources import check_apart
    from genreflow.params import load_params
    from genreflow.stages import RAW
    from genreflow.stages.check import check_files

    path = _find(given)
    written = _written(path)
    check_apart(path, RAW)
    if path.exists():
        check_files(path)
    kind = kind or detect_source(path)
    options = IngestOptions(n_jobs=1, progress=False, table=read_table(load_params().data.tracks))
    return kind, written, check_source(kind, path, options)


def _find(given: str) -> Path:
    """Return a path as it is, or with `~` as the home folder: a shell does not expand it inside of quotes."""
    return InputPath().convert(given if os.path.lexists(given) else os.path.expanduser(given), None, None)


def _written(path: Path) -> str:
    """Return a path relative to the project if it is inside, so that both can be moved together; else absolute."""
    from genreflow.errors import ParameterError

    absolute = os.path.abspath(path)
    relative = os.path.relpath(absolute)
    written = absolute if relative.split(os.sep)[0] == os.pardir else relative
    try:
        written.encode()
    except UnicodeEncodeError:
        raise ParameterError(f"{path}: must have a name in UTF-8, for params.yaml; got other bytes.") from None
    if written.endswith((".dvc", "dvc.yaml")):
        raise ParameterError(f"{path}: must not end in .dvc, which DVC reserves for its own files; rename it.")
    return written


def _next_commands() -> list[str]:
    command = ["git", "rev-parse", "--git-dir"]
    try:
        inside = subprocess.run(command, capture_output=True, check=False).returncode == 0
    except OSError:  # git is not installed: DVC reports it
        inside = True
    return [*([] if inside else ["git init"]), "dvc repro"]
