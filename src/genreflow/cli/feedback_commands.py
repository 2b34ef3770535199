"""`genreflow feedback`: the review of what listeners say about answers of the service."""

import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from genreflow.cli.parameter_options import json_option
from genreflow.cli.paths import InputPath

if TYPE_CHECKING:
    from genreflow.feedback.feedback_records import FeedbackEntry, FeedbackRecords

_SHOWN_DIGITS = 12
NONE_OF_THESE = "none of these"


def folder_option(command: Callable[..., object]) -> Callable[..., object]:
    """Give a command the option --dir."""
    return click.option(
        "--dir",
        "folder",
        type=InputPath(),
        envvar="GENREFLOW_FEEDBACK_DIR",
        default=Path("feedback"),
        show_default=True,
        help="Folder in which the service keeps records; also by GENREFLOW_FEEDBACK_DIR.",
    )(command)


@click.group()
def feedback() -> None:
    """Review what listeners say about answers, and correct the data.

    Accepted feedback becomes a track of the data, for train only, at the next `dvc repro`.
    """


@feedback.command("list")
@click.option("--all", "with_reviewed", is_flag=True, help="Also list what was reviewed.")
@click.option("--answers", is_flag=True, help="Also show the answer of the model, which may influence a reviewer.")
@folder_option
@json_option
def list_feedback(with_reviewed: bool, answers: bool, folder: Path, as_json: bool) -> None:
    """List feedback that waits for a review, oldest first."""
    entries = [entry for entry in _records(folder).claimed() if with_reviewed or entry.review is None]
    if as_json:
        click.echo(json.dumps([_to_dict(entry, answers) for entry in entries], indent=2))
        return
    if not entries:
        click.echo("No feedback." if with_reviewed else "No feedback waits for a review.")
        return
    from genreflow.file_names import one_line

    head = ["ID", "given (UTC)", "listener", *(["answer"] if answers else []), "audio", "review", "comment"]
    rows = [head, *(_row(entry, answers) for entry in entries)]
    rows = [[one_line(cell) for cell in row] for row in rows]
    widths = [max(len(row[column]) for row in rows) for column in range(len(head))]
    for row in rows:
        click.echo("  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip())


@feedback.command()
@click.argument("prediction", metavar="ID")
@click.option("--genre", required=True, help="What you hear; there is no default.")
@click.option("--artist", default="", help="Artist, so that the artist is not in valid or test as well.")
@click.option("--audio", type=InputPath(), help="The file that was sent, if the service has not kept it.")
@folder_option
@json_option
def accept(prediction: str, genre: str, artist: str, audio: Path | None, folder: Path, as_json: bool) -> None:
    """Add the audio of ID to the data, with the genre that you name.

    Listen to it first: its path is in `genreflow feedback list --json`. The decision can be repeated with another
    genre.
    """
    from genreflow.stages.feedback_review import accept as accept_entry
    from genreflow.stages.feedback_review import find_entry

    records = _records(folder)
    correction = accept_entry(records, find_entry(records, prediction), genre, audio=audio, artist=artist)
    if as_json:
        click.echo(json.dumps(asdict(correction), indent=2))
    else:
        click.echo(
            f"{correction.prediction_id} is {genre}: a correction in data/corrections; commit the table there. "
            "`dvc repro` adds it to train."
        )


@feedback.command()
@click.argument("prediction", metavar="ID")
@folder_option
def reject(prediction: str, folder: Path) -> None:
    """Leave the data as they are, and remove the audio of ID."""
    from genreflow.stages.feedback_review import find_entry
    from genreflow.stages.feedback_review import reject as reject_entry

    records = _records(folder)
    entry = find_entry(records, prediction)
    reject_entry(records, entry)
    click.echo(f"{entry.record.prediction_id} is rejected.")


@feedback.command()
@click.argument("prediction", metavar="ID")
@folder_option
@click.option(
    "--log",
    type=InputPath(),
    envvar="GENREFLOW_PREDICTION_LOG",
    default=Path("monitoring"),
    show_default=True,
    help="Log of predictions; also by GENREFLOW_PREDICTION_LOG.",
)
@json_option
def delete(prediction: str, folder: Path, log: Path, as_json: bool) -> None:
    """Delete all that is known of the prediction ID.

    That is its record, feedback, review and audio, the correction that came of it, and its line in the log of
    predictions. ID is the whole prediction_id of the answer.
    """
    from genreflow.errors import ParameterError
    from genreflow.feedback.feedback_records import PREDICTION_ID, FeedbackRecords
    from genreflow.monitoring.log_files import delete as delete_lines
    from genreflow.stages.feedback_review import delete as delete_files
    from genreflow.stages.feedback_review import has_correction

    if not PREDICTION_ID.fullmatch(prediction):
        raise ParameterError(f"ID: must be the whole ID, of 32 hexadecimal digits; got {prediction[:64]!r}.")
    changed = delete_files(FeedbackRecords(folder), prediction)
    lines = delete_lines(log, prediction)
    if as_json:
        click.echo(json.dumps({"files": [str(path) for path in changed], "log_lines": lines}, indent=2))
    if not changed and not lines:
        raise ParameterError(f"ID: must be a prediction of which something is kept; got {prediction}.")
    if not as_json:
        for path in changed:
            click.echo(f"{path}")
        click.echo(f"{prediction}: deleted, with {lines} lines of the log of predictions.")
    if has_correction(changed):
        click.echo(
            "The correction is in data/raw until the next `dvc repro`, and in DVC's cache until `dvc gc --workspace`.",
            err=True,
        )


def _records(folder: Path) -> "FeedbackRecords":
    from genreflow.errors import ParameterError
    from genreflow.feedback.feedback_records import FeedbackRecords

    if not folder.is_dir():
        raise ParameterError(
            f"--dir {folder}: must be the folder in which the service keeps records (GENREFLOW_FEEDBACK_DIR); got none."
        )
    return FeedbackRecords(folder)


def _row(entry: "FeedbackEntry", answers: bool) -> list[str]:
    claim, review = entry.claim, entry.review
    assert claim is not None
    reviewed = "-" if review is None else review.verdict if review.genre is None else f"accepted as {review.genre}"
    return [
        entry.record.prediction_id[:_SHOWN_DIGITS],
        claim.time.replace("T", " ").removesuffix("+00:00"),
        claim.genre or NONE_OF_THESE,
        *([entry.record.genre or "-"] if answers else []),
        "-" if entry.audio is None else "kept",
        reviewed,
        claim.comment,
    ]


def _to_dict(entry: "FeedbackEntry", answers: bool) -> dict[str, Any]:
    claim, record = entry.claim, entry.record
    assert claim is not None
    answer = {"answer": record.genre, "probabilities": record.probabilities} if answers else {}
    return {
        "prediction_id": record.prediction_id,
        "given": claim.time,
        "listener": claim.genre,
        "comment": claim.comment,
        "model": record.model,
        **answer,
        "duration": record.duration,
        "sha256": record.audio_hash,
        "audio": None if entry.audio is None else str(entry.audio),
        "review": None if entry.review is None else asdict(entry.review),
    }
