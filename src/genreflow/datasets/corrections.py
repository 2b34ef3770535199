"""Corrections: accepted feedback about answers of the service, which ingest adds to the tracks of any source.

A folder with ``tracks.csv``, which is in git, and the audio in ``audio/``, which is not. The table has the hash of each
file, so that a version of the table is a version of the corrections; DVC keeps the audio as a part of the raw data.
"""

import csv
import fcntl
import os
import re
import shutil
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path

from genreflow.datasets.folder import import_tracks
from genreflow.datasets.labels import with_artist
from genreflow.datasets.options import IngestOptions
from genreflow.errors import ParameterError, counted
from genreflow.files import atomic_file, sha256, write_csv
from genreflow.manifest.manifest import Manifest
from genreflow.manifest.track import Track, singleton_group

# Folder of the corrections in the raw data, and first part of the ids of their tracks.
NAME = "_corrections"
_FILE = re.compile(r"[0-9a-f]{32}(\.[a-z0-9]{1,7})?")


@dataclass(frozen=True)
class Correction:
    """An accepted correction: a row of the table.

    Parameters
    ----------
    path : str
        Name of the file in ``audio/``: the ID of the prediction, and the suffix of the file that was sent.
    genre : str
        As the reviewer named it.
    group : str
        The artist; empty if unknown.
    sha256 : str
        Of the file, in hex.
    accepted : str
        When: ISO 8601, UTC.
    """

    path: str
    genre: str
    group: str
    sha256: str
    accepted: str

    @property
    def prediction_id(self) -> str:
        """ID of the prediction that was corrected."""
        return self.path.partition(".")[0]


class Corrections:
    """The corrections of a project.

    Parameters
    ----------
    folder : Path
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.table, self.audio = folder / "tracks.csv", folder / "audio"

    def read(self) -> list[Correction]:
        """Return all corrections, in the order of the table; none if there is no table.

        Raises
        ------
        ParameterError
            The table cannot be read, or has rows without path or genre, or two of one prediction.
        """
        try:
            with open(self.table, encoding="utf-8-sig", newline="") as file:
                rows = [self._row(number, row) for number, row in enumerate(csv.DictReader(file), start=2)]
        except FileNotFoundError:
            return []
        except (OSError, UnicodeDecodeError, csv.Error) as error:
            found = error.strerror if isinstance(error, OSError) else error
            raise ParameterError(f"{self.table}: must be a CSV file in UTF-8; got {found}.") from None
        for prediction_id, count in Counter(row.prediction_id for row in rows).items():
            if count > 1:
                raise ParameterError(f"{self.table}: must list each prediction once; got {prediction_id} twice.")
        return rows

    def add(self, correction: Correction, original: Path) -> None:
        """Add a correction with its audio; one that is there already is replaced.

        Raises
        ------
        OSError
            The audio cannot be copied.
        """
        with self._locked():
            with atomic_file(self.audio / correction.path) as temporary:
                shutil.copyfile(original, temporary)
            others = [row for row in self.read() if row.prediction_id != correction.prediction_id]
            self._write([*others, correction])

    def remove(self, prediction_id: str) -> list[Path]:
        """Remove a correction and its audio; return the paths of what was changed, none if there was nothing."""
        with self._locked():
            rows = self.read()
            others = [row for row in rows if row.prediction_id != prediction_id]
            changed = sorted(self.audio.glob(f"{prediction_id}*")) if _FILE.fullmatch(prediction_id) else []
            if len(others) < len(rows):
                self._write(others)
                changed.append(self.table)
            for path in changed:
                if path != self.table:
                    path.unlink(missing_ok=True)
            return changed

    def _row(self, number: int, row: dict[str, str | None]) -> Correction:
        cells = {field.name: (row.get(field.name) or "").strip() for field in fields(Correction)}
        if not _FILE.fullmatch(cells["path"]) or not cells["genre"]:
            raise ParameterError(
                f"{self.table}, line {number}: must have a genre, and as path the name of a file in {self.audio}; got "
                f"{cells['genre']!r} and {cells['path']!r}."
            )
        return Correction(**cells)

    def _write(self, rows: list[Correction]) -> None:
        write_csv(self.table, [field.name for field in fields(Correction)], map(asdict, rows))

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Let one process at a time change the corrections; others wait."""
        self.audio.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(self.audio, os.O_RDONLY)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)


def add_corrections(
    manifest: Manifest, corrections: Corrections, destination: Path, previous: Path, options: IngestOptions
) -> Manifest:
    """Add the corrections to the tracks of a source, marked as ``train_only``.

    Parameters
    ----------
    manifest : Manifest
        Of the source.
    corrections : Corrections
    destination : Path
        New folder of raw data; the audio is copied to its sub-folder `NAME`.
    previous : Path
        Raw data of the ingest before. Audio that the project does not have, as in a fresh clone, is taken from there.
    options : IngestOptions

    Returns
    -------
    Manifest
        With a note if some were left out: their genre is none of the source's, or its tracks are spectrograms.

    Raises
    ------
    ParameterError
        The table is damaged, the audio of a correction is missing or has changed, or the source has tracks of its own
        in a folder `NAME`.
    """
    rows = corrections.read()
    if not rows:
        return manifest
    if any(track.id.startswith(f"{NAME}/") or track.path.startswith(f"{NAME}/") for track in manifest.tracks):
        raise ParameterError(f"data.path: must have no folder {NAME} while there are corrections; got one.")
    if manifest.source == "spectrograms":
        number = counted(len(rows), "correction was", "corrections were")
        return replace(
            manifest,
            notes=(*manifest.notes, f"{number} left out: they are audio, and the tracks of the source spectrograms."),
        )
    known = [row for row in rows if row.genre in manifest.genres]
    tracks = [
        track
        for root, own in _by_root(corrections, known, previous).items()
        for track in _import(own, root, destination, options)
    ]
    notes = [*manifest.notes, *_notes(rows, known, tracks)]
    return replace(
        manifest,
        tracks=tuple(sorted((*manifest.tracks, *tracks), key=lambda track: track.id)),
        notes=tuple(notes),
    )


def _by_root(corrections: Corrections, rows: list[Correction], previous: Path) -> dict[Path, list[Correction]]:
    """Return the corrections by the folder that has their audio."""
    found: dict[Path, list[Correction]] = {}
    for row in rows:
        root = next((root for root in (corrections.audio, previous / NAME) if (root / row.path).is_file()), None)
        if root is None:
            raise ParameterError(
                f"{corrections.audio / row.path}: must exist, since {corrections.table} lists it; got no file. `dvc "
                f"pull` gets the one in {previous / NAME}, and `genreflow feedback delete {row.prediction_id}` removes "
                "the row."
            )
        if row.sha256 and sha256(root / row.path) != row.sha256:
            raise ParameterError(
                f"{root / row.path}: must have the SHA-256 that {corrections.table} lists; got another file."
            )
        found.setdefault(root, []).append(row)
    return found


def _import(rows: list[Correction], root: Path, destination: Path, options: IngestOptions) -> list[Track]:
    """Copy and measure the corrections whose audio is in one folder."""
    cache = options.cache.component(NAME)
    tracks = import_tracks(map(_track, rows), root, destination / NAME, replace(options, cache=cache))
    options.cache.add_component(NAME, cache)
    return [_with_prefix(track) for track in tracks]


def _track(row: Correction) -> Track:
    track_id = row.prediction_id
    track = Track(
        id=track_id,
        genre=row.genre,
        path=row.path,
        group=singleton_group(track_id),
        group_source="track",
        train_only=True,
    )
    return with_artist(track, row.group, "tracks.csv") if row.group else track


def _with_prefix(track: Track) -> Track:
    track_id = f"{NAME}/{track.id}"
    group = singleton_group(track_id) if track.group_source == "track" else track.group
    return replace(track, id=track_id, path=f"{NAME}/{track.path}", group=group)


def _notes(rows: list[Correction], known: list[Correction], tracks: list[Track]) -> list[str]:
    notes = []
    if others := Counter(row.genre for row in rows if row not in known):
        number = counted(others.total(), "correction was", "corrections were")
        notes.append(f"{number} left out, whose genres the data do not have: {', '.join(sorted(others))}.")
    if tracks:
        unknown = sum(track.group_source == "track" for track in tracks)
        notes.append(
            f"{counted(len(tracks), 'correction')} by listeners: for train only, and a biased sample of what was "
            f"heard. Of {unknown} the artist is unknown, who may also be in valid or test."
        )
    return notes
