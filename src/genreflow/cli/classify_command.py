"""`genreflow classify`: inference on files, without a server."""

import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from genreflow.cli.parameter_options import jobs_option, json_option
from genreflow.cli.paths import InputPath, OutputPath
from genreflow.logs import INTERRUPTED

if TYPE_CHECKING:
    from genreflow.inference.batch import Each
    from genreflow.inference.playlists import Playlists


@click.command()
@click.argument("paths", nargs=-1, required=True, type=InputPath())
@click.option(
    "--output",
    "-o",
    type=OutputPath(),
    help="Table to write: .csv, .jsonl or .parquet.  [default: print]",
)
@click.option(
    "--bundle",
    type=InputPath(),
    default=Path("models/champion"),
    show_default=True,
    help="Folder of the model.",
)
@click.option(
    "--playlists",
    type=OutputPath(folder=True),
    metavar="DIR",
    help="Also write a playlist (.m3u8) per genre to this folder; files without a genre are in none.",
)
@jobs_option
@click.option(
    "--scheduler",
    envvar="DASK_SCHEDULER_ADDRESS",
    help="Address of a Dask scheduler, such as tcp://host:8786, whose workers classify; needs --output.  [default: "
    "compute.scheduler of params.yaml]",
)
@click.option(
    "--resume/--restart",
    default=True,
    show_default=True,
    help="Continue an interrupted --output, or begin again and replace a finished one.",
)
@json_option
@click.pass_context
def classify(
    context: click.Context,
    paths: tuple[Path, ...],
    output: Path | None,
    bundle: Path,
    playlists: Path | None,
    jobs: int | None,
    scheduler: str | None,
    resume: bool,
    as_json: bool,
) -> None:
    """Predict the genre of audio files.

    PATHS are audio files, folders that are searched for audio, and lists: .txt or .m3u with one path per line, .csv
    with a column path. The exit code is 1 if a file could not be classified; its row has the reason.
    """
    from genreflow.bundle import Bundle
    from genreflow.inference.audio_files import find_audio
    from genreflow.inference.playlists import Playlists

    if output is not None and resume:
        _check_unfinished(output)
    files = find_audio(paths)
    loaded = Bundle.load(bundle)
    lists = Playlists(playlists, loaded.labels) if playlists else None
    each = lists.add if lists else None
    if loaded.leaking:
        click.echo(
            "Warning: this model was trained on a leaking split; its metrics are optimistically biased.", err=True
        )
    with _exit_when_interrupted():
        if output is None:
            failed = _print_predictions(files, bundle, jobs=jobs, as_json=as_json, each=each)
        else:
            failed = _write_table(
                files,
                bundle,
                output,
                jobs=jobs,
                scheduler=scheduler or _project_scheduler(),
                resume=resume,
                as_json=as_json,
                each=each,
            )
    if lists is not None:
        _write_playlists(lists)
    if failed:
        context.exit(1)


def _check_unfinished(output: Path) -> None:
    """Refuse to replace a finished output; one of an interrupted call has a journal beside it."""
    from genreflow.errors import ParameterError
    from genreflow.inference.batch import unfinished_path

    if output.exists() and not unfinished_path(output).exists():
        raise ParameterError(
            f"--output {output}: must not exist; got a finished file, which --restart computes again and replaces."
        )


@contextmanager
def _exit_when_interrupted() -> Iterator[None]:
    """End the process at Ctrl-C, at once and with exit code 130.

    At a normal exit, Python waits for the threads that decode, and those of ONNX Runtime may abort the process.
    """
    try:
        yield
    except KeyboardInterrupt:
        click.echo("genreflow: interrupted.", err=True)
        sys.stdout.flush()
        os._exit(INTERRUPTED)


def _write_playlists(playlists: "Playlists") -> None:
    """Write the playlists, and name the files that they leave out."""
    from genreflow.errors import counted
    from genreflow.file_names import one_line

    for path, tracks in playlists.write().items():
        click.echo(one_line(f"{path}: {counted(tracks, 'track')}"), err=True)
    for file in playlists.left_out:
        message = f"{file}: is in no playlist; a path in one must be UTF-8 without line breaks."
        click.echo(one_line(message), err=True)


def _print_predictions(files: list[Path], bundle: Path, *, jobs: int | None, as_json: bool, each: "Each") -> int:
    """Print one line per file, and return the number of files that failed."""
    from genreflow.file_names import one_line
    from genreflow.inference.batch import iter_results, outcome
    from genreflow.inference.output import with_utf8_names
    from genreflow.inference.predictor import Predictor

    failed = 0
    for result in iter_results(files, Predictor(bundle), n_jobs=jobs):
        failed += outcome(result) == "failed"
        if each is not None:
            each(result)
        result = with_utf8_names(result)
        if as_json:
            click.echo(json.dumps(result))
        elif "error" in result:
            click.echo(one_line(result["error"]["message"]), err=True)
        else:
            line = f"{result['genre'] or result['reason']:<16} {result['confidence']:6.1%}  {result['file']}"
            click.echo(one_line(line))
    return failed


def _write_table(
    files: list[Path],
    bundle: Path,
    output: Path,
    *,
    jobs: int | None,
    scheduler: str | None,
    resume: bool,
    as_json: bool,
    each: "Each",
) -> int:
    """Write one row per file, print a summary, and return the number of files that failed."""
    from genreflow.inference.batch import classify_files

    summary = classify_files(files, bundle, output=output, n_jobs=jobs, scheduler=scheduler, resume=resume, each=each)
    if as_json:
        click.echo(json.dumps(summary.to_dict()))
    else:
        resumed = f", {summary.resumed} of them in an earlier call" if summary.resumed else ""
        click.echo(
            f"{output}: {summary.classified} classified, {summary.abstained} without a genre, {summary.failed} failed "
            f"in {summary.seconds:.1f} s{resumed}"
        )
    return summary.failed


def _project_scheduler() -> str | None:
    """Return compute.scheduler where the current folder is a project, else None."""
    from genreflow.params import PARAMS_FILE, load_params

    return load_params().compute.scheduler if PARAMS_FILE.exists() else None
