"""The review of feedback, between the service's records and the corrections of the project; not a stage itself."""

from collections.abc import Iterable
from pathlib import Path

from genreflow.audio.properties import inspect
from genreflow.datasets.corrections import Correction, Corrections
from genreflow.errors import ParameterError
from genreflow.feedback.feedback_records import FeedbackEntry, FeedbackRecords, Review, now
from genreflow.files import sha256
from genreflow.manifest.manifest import Manifest
from genreflow.stages import CORRECTIONS, MANIFEST

# Beginnings of IDs, as `genreflow feedback list` prints them, are enough.
MIN_PREFIX = 6


def find_entry(records: FeedbackRecords, prefix: str) -> FeedbackEntry:
    """Return the feedback about a prediction, by the beginning of its ID.

    Raises
    ------
    ParameterError
        There is none, or that of several.
    """
    found = [entry for entry in records.claimed() if entry.record.prediction_id.startswith(prefix)]
    if len(found) != 1 or len(prefix) < MIN_PREFIX:
        got = "several" if len(found) > 1 else "one without feedback" if not found else "too few digits"
        raise ParameterError(
            f"ID: must be that of one prediction with feedback, or its first {MIN_PREFIX} or more digits; got "
            f"{prefix!r}, {got} in {records.folder}."
        )
    return found[0]


def accept(
    records: FeedbackRecords, entry: FeedbackEntry, genre: str, *, audio: Path | None = None, artist: str = ""
) -> Correction:
    """Make feedback a correction of the project, with the genre that the reviewer names.

    Parameters
    ----------
    records : FeedbackRecords
    entry : FeedbackEntry
    genre : str
        A genre of the project's data.
    audio : Path, optional
        The file that was sent, where the service has not kept it.
    artist : str
        Empty if unknown; the tags of the file may then have it.

    Returns
    -------
    Correction
        It replaces an earlier one of the same prediction.

    Raises
    ------
    ParameterError
        The data have no such genre, there is no audio, or another file than the one that was sent.
    AudioError
        The audio cannot be decoded.
    """
    genres = Manifest.load(MANIFEST).genres
    if genre not in genres:
        raise ParameterError(
            f"--genre: must be one of {', '.join(genres)}; got {genre!r}. A new genre needs music in the data, since "
            "corrections are in train only."
        )
    corrections, record = Corrections(CORRECTIONS), entry.record
    name = f"{record.prediction_id}{record.audio_suffix}"
    kept = (entry.audio, corrections.audio / name)
    path = audio or next((path for path in kept if path is not None and path.exists()), None)
    if path is None:
        raise ParameterError(
            "--audio: must be the file that was sent, since the service has not kept it (GENREFLOW_FEEDBACK_AUDIO); "
            "got none."
        )
    try:
        digest = sha256(path)
    except OSError as error:
        raise ParameterError(f"--audio {path}: must be readable; got {error.strerror}.") from None
    if digest != record.audio_hash:
        raise ParameterError(
            f"--audio {path}: must be the file that was sent, with the SHA-256 {record.audio_hash[:12]}…; got "
            f"{digest[:12]}…."
        )
    inspect(path)
    correction = Correction(path=name, genre=genre, group=artist.strip(), sha256=digest, accepted=now())
    corrections.add(correction, path)
    records.review(record, Review(verdict="accepted", genre=genre))
    records.delete_audio(entry)  # the project has it now
    return correction


def reject(records: FeedbackRecords, entry: FeedbackEntry) -> None:
    """Refuse feedback: its audio is removed, and a correction that was accepted from it."""
    Corrections(CORRECTIONS).remove(entry.record.prediction_id)
    records.review(entry.record, Review(verdict="rejected"))
    records.delete_audio(entry)


def delete(records: FeedbackRecords, prediction_id: str) -> list[Path]:
    """Remove all that records and project have of a prediction; return the paths of what was removed or changed."""
    return [*Corrections(CORRECTIONS).remove(prediction_id), *records.delete(prediction_id)]


def has_correction(changed: Iterable[Path]) -> bool:
    """Return whether `delete` removed a correction, which raw data and DVC's cache still have."""
    return Corrections(CORRECTIONS).table in changed
