"""Records of predictions, and what listeners claim about them: small files below one folder.

``<folder>/<day>/<prediction ID>.json`` is the record of a prediction, ``.claim.json`` what a listener claims, and
``.review.json`` what a reviewer decided; ``<prediction ID>.audio.<suffix>`` is the audio, where it is kept.
"""

import errno
import os
import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from pydantic import TypeAdapter

from genreflow.constraints import DAMAGED
from genreflow.errors import GenreflowError
from genreflow.files import read_json, temporary_path, write_json

PREDICTION_ID = re.compile("[0-9a-f]{32}")
DAY = re.compile(r"\d{4}-\d\d-\d\d")
CLAIM_SUFFIX, REVIEW_SUFFIX = ".claim.json", ".review.json"
# Of file systems without hard links.
_NO_LINKS = frozenset({errno.EPERM, errno.ENOTSUP, errno.ENOSYS, errno.EMLINK})

Verdict = Literal["accepted", "rejected"]


class UnknownPredictionError(GenreflowError):
    """There is no record of a prediction: it was never made, has expired, or was deleted."""


class UnknownGenreError(GenreflowError):
    """A claim names a genre that the model does not know."""


class ClaimedError(GenreflowError):
    """There is another claim about the same prediction."""


@dataclass(frozen=True, kw_only=True)
class FeedbackRecord:
    """A prediction that was answered.

    Parameters
    ----------
    prediction_id : str
        32 hex digits.
    time : str
        ISO 8601, UTC.
    model : dict
        Name and version of the model.
    genre : str or None
        As answered.
    probabilities : dict of str to float in [0, 1]
        Of all genres that the model knows.
    duration : float >= 0 [s]
    audio_hash : str
        SHA-256 of the file that was sent, in hex.
    audio_suffix : str
        Of its name, such as ``.mp3``; the name itself is not kept.
    """

    prediction_id: str
    time: str
    model: dict[str, Any]
    genre: str | None
    probabilities: dict[str, float]
    duration: float
    audio_hash: str
    audio_suffix: str = ""


@dataclass(frozen=True, kw_only=True)
class Claim:
    """What a listener claims.

    Parameters
    ----------
    genre : str or None
        None for "none of these genres".
    comment : str
    time : str
        ISO 8601, UTC.
    """

    genre: str | None
    comment: str = ""
    time: str = field(default_factory=lambda: now())


@dataclass(frozen=True, kw_only=True)
class Review:
    """What a reviewer decided; `genre` is None if the claim was rejected."""

    verdict: Verdict
    genre: str | None = None
    time: str = field(default_factory=lambda: now())


@dataclass(frozen=True, kw_only=True)
class FeedbackEntry:
    """A prediction with its claim, its review and the path of its audio, as far as they exist."""

    record: FeedbackRecord
    claim: Claim | None
    review: Review | None
    audio: Path | None


class FeedbackRecords:
    """The records below a folder.

    Parameters
    ----------
    folder : Path
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def add(self, record: FeedbackRecord) -> None:
        """Write a record.

        Raises
        ------
        OSError
            It cannot be written.
        """
        write_json(self.path(record, ".json"), asdict(record))

    def path(self, record: FeedbackRecord, suffix: str) -> Path:
        """Return the path of a file of a record."""
        return self.folder / record.time[:10] / f"{record.prediction_id}{suffix}"

    def read(self, prediction_id: str) -> FeedbackEntry:
        """Return what there is about a prediction.

        Raises
        ------
        UnknownPredictionError
            There is no record of it, or a damaged one.
        """
        for day in self.days():
            path = day / f"{prediction_id}.json"
            if PREDICTION_ID.fullmatch(prediction_id) and path.exists():
                record = _read(path, FeedbackRecord)
                if record is not None:
                    return self._entry(record)
        raise UnknownPredictionError(
            f"prediction_id: must be one of an answer that is kept; got {prediction_id!r}, which has expired, was "
            "deleted or was never given."
        )

    def claim(self, prediction_id: str, genre: str | None, comment: str = "") -> Claim:
        """Keep what a listener claims about a prediction; the same claim again is the one that is kept already.

        Raises
        ------
        UnknownPredictionError
            There is no record of the prediction.
        UnknownGenreError
            The model does not know the genre.
        ClaimedError
            There is another claim about it.
        OSError
            It cannot be written.
        """
        entry = self.read(prediction_id)
        labels = sorted(entry.record.probabilities)
        if genre is not None and genre not in labels:
            raise UnknownGenreError(
                f"genre: must be one of {', '.join(labels)}, or null if it is none of them; got {genre[:100]!r}."
            )
        claim = Claim(genre=genre, comment=comment)
        path = self.path(entry.record, CLAIM_SUFFIX)
        if entry.claim is None and _write_new(path, asdict(claim)):
            return claim
        existing = entry.claim or _read(path, Claim)
        if existing is not None and (existing.genre, existing.comment) == (genre, comment):
            return existing
        raise ClaimedError("prediction_id: must be one without feedback; got one about which other feedback was given.")

    def review(self, record: FeedbackRecord, review: Review) -> None:
        """Keep what a reviewer decided, instead of an earlier decision."""
        write_json(self.path(record, REVIEW_SUFFIX), asdict(review))

    def claimed(self) -> Iterator[FeedbackEntry]:
        """Yield the predictions about which something is claimed, oldest first."""
        found = []
        for day in self.days():
            for path in day.glob(f"*{CLAIM_SUFFIX}"):
                record = _read(day / f"{path.name.removesuffix(CLAIM_SUFFIX)}.json", FeedbackRecord)
                if record is not None and (entry := self._entry(record)).claim is not None:
                    found.append(entry)
        yield from sorted(found, key=lambda entry: (entry.claim.time if entry.claim else "", entry.record.time))

    def delete(self, prediction_id: str) -> list[Path]:
        """Remove all files about a prediction, and return their paths."""
        if not PREDICTION_ID.fullmatch(prediction_id):
            return []
        found = [path for day in self.days() for path in sorted(day.glob(f"{prediction_id}.*"))]
        for path in found:
            path.unlink(missing_ok=True)
        return found

    def delete_audio(self, entry: FeedbackEntry) -> None:
        """Remove the audio of a prediction, if it was kept."""
        if entry.audio is not None:
            entry.audio.unlink(missing_ok=True)

    def days(self) -> list[Path]:
        """Return the folders of the days, latest first."""
        try:
            return sorted((path for path in self.folder.iterdir() if DAY.fullmatch(path.name)), reverse=True)
        except (FileNotFoundError, NotADirectoryError):
            return []

    def _entry(self, record: FeedbackRecord) -> FeedbackEntry:
        audio = self.path(record, f".audio{record.audio_suffix}")
        return FeedbackEntry(
            record=record,
            claim=_read(self.path(record, CLAIM_SUFFIX), Claim),
            review=_read(self.path(record, REVIEW_SUFFIX), Review),
            audio=audio if audio.exists() else None,
        )


def now() -> str:
    """Return the time in UTC, ISO 8601, to seconds."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def _read(path: Path, kind: type) -> Any:
    """Return the content of a file; None if it does not exist or is damaged, as after a power failure."""
    try:
        return TypeAdapter(kind).validate_python(read_json(path))
    except DAMAGED:
        return None


def _write_new(path: Path, value: object) -> bool:
    """Write a file, complete or not at all; return False, and write nothing, if it exists."""
    with temporary_path(path) as temporary:
        write_json(temporary, value)
        try:
            os.link(temporary, path)
        except FileExistsError:
            return False
        except OSError as error:
            if error.errno not in _NO_LINKS:
                raise
            if path.exists():
                return False
            os.replace(temporary, path)
    return True
