"""GTZAN as a source: from a copy in any common layout, or downloaded."""

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from genreflow.audio.formats import AUDIO_SUFFIXES
from genreflow.datasets.folder import import_tracks
from genreflow.datasets.gtzan.archive import Archive, download, mismatching_files, published_checksums
from genreflow.datasets.gtzan.facts import GENRES, TRACK_IDS, published_artists, published_split
from genreflow.datasets.importing import require_folder
from genreflow.datasets.labels import with_artist
from genreflow.datasets.options import IngestOptions
from genreflow.datasets.selection import select_tracks
from genreflow.datasets.track_table import Row
from genreflow.errors import ParameterError, counted
from genreflow.file_names import utf8_name
from genreflow.manifest.manifest import Manifest
from genreflow.manifest.track import Part, Track, singleton_group

# Location of the genre folders in a copy: in mirdata's home, in the archive, and on Kaggle.
_ROOTS = ("", "genres", "gtzan_genre/genres", "genres_original", "Data/genres_original")
_COPY = (
    "genres/blues/blues.00000.au (or .wav) as published, Data/genres_original/blues/blues.00000.wav as on Kaggle, or "
    "the genre folders themselves"
)
LAYOUT = f"{_COPY}; or nothing, to download it"
_MAX_NAMED = 5  # files that a message lists


def gtzan(path: Path, destination: Path, options: IngestOptions, *, archive: Archive | None = None) -> Manifest:
    """Ingest GTZAN; it is downloaded if `path` is empty.

    Artists and the fault-filtered split are the published ones (`genreflow.datasets.gtzan.facts`), unless the table of
    tracks has others. A table with parts replaces the whole published split; the two are not mixed.

    Parameters
    ----------
    path : Path
        A copy with `LAYOUT`, or an empty or missing folder.
    destination : Path
        Empty folder for the raw data, ``<genre>/<genre>.<number>.<suffix>``.
    options : IngestOptions
    archive : Archive or None
        Where GTZAN is published; None means according to mirdata.

    Raises
    ------
    ParameterError
        `path` holds something else, cannot be read, or GTZAN cannot be downloaded; or see `folder`.
    """
    path = Path(path)
    root = _find_root(path)
    if root is None:
        archive = archive or Archive.from_mirdata()
        root = _download_to(path, archive, progress=options.progress)
    files, notes = _list_excerpts(root)
    tracks, table_notes = _make_tracks(files, path, root, options)
    tracks = select_tracks(tracks, options, where=str(path))
    measured = import_tracks(tracks, root, destination, options)
    notes += missing_tracks(files)
    notes += table_notes
    notes += corrupt_files([root / track.path for track in tracks], path, archive, n_jobs=options.n_jobs)
    return Manifest.from_tracks("gtzan", measured, notes=notes)


def missing_tracks(files: Mapping[str, str]) -> list[str]:
    """Return a message that lists the missing tracks of GTZAN, if any; `files` has track ids as keys."""
    missing = [track_id for track_id in TRACK_IDS if track_id not in files]
    are = "is" if len(missing) == 1 else "are"
    return [f"{len(missing)} of the {len(TRACK_IDS):,} tracks {are} missing: {_join(missing)}."] if missing else []


def corrupt_files(files: Sequence[Path], path: Path, archive: Archive | None, *, n_jobs: int) -> list[str]:
    """Return a message that lists the files that differ from the published ones, if any.

    Only ``.wav`` files are compared, since the index has no others.
    """
    files = [file for file in files if file.suffix == ".wav"]
    if not files:
        return []
    archive = archive or Archive.from_mirdata()
    checksums = published_checksums(archive, path)
    if not checksums:
        return [
            f"The files were not compared with the published checksums; to compare them, download {archive.index.url} "
            f"to {archive.index.name} in data.path."
        ]
    names = mismatching_files(files, checksums, n_jobs=n_jobs)
    differ = "differs" if len(names) == 1 else "differ"
    total = counted(len(files), "file")
    return [f"{len(names)} of {total} {differ} from the published ones: {_join(names)}."] if names else []


def find_copy(path: Path) -> dict[str, str] | None:
    """Return the excerpts of a copy of GTZAN, ``<genre>/<file>`` by track ID; None if `path` is no copy."""
    root = _find_root(path)
    return _list_excerpts(root)[0] if root else None


def _find_root(path: Path) -> Path | None:
    """Return the folder of a copy that holds the genre folders."""
    return next((path / root for root in _ROOTS if _list_excerpts(path / root)[0]), None)


def _list_excerpts(root: Path) -> tuple[dict[str, str], list[str]]:
    """Return the excerpts, ``<genre>/<file>`` by track id, and messages on files that are ignored."""
    files: dict[str, str] = {}
    others, duplicates = [], []
    for genre in GENRES:
        try:
            names = sorted(os.listdir(root / genre))
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError as error:
            raise ParameterError(f"{root / genre}: must be readable; got {error.strerror}.") from None
        for name in names:
            track_id, suffix = os.path.splitext(name)
            if name.startswith("."):
                continue
            if not re.fullmatch(rf"{genre}\.000\d\d", track_id) or suffix.lower() not in AUDIO_SUFFIXES:
                others.append(f"{genre}/{name}")
            elif track_id in files:
                duplicates.append(f"{genre}/{name}")
            else:
                files[track_id] = f"{genre}/{name}"
    notes = []
    if others:
        number = counted(
            len(others), "file that is not an excerpt of GTZAN was", "files that are not excerpts of GTZAN were"
        )
        notes.append(f"{number} ignored: {_join(others)}.")
    if duplicates:
        number = counted(len(duplicates), "file was", "files were")
        notes.append(f"{number} ignored, of excerpts that have another file: {_join(duplicates)}.")
    return files, notes


def check_download_folder(path: Path, archive: Archive | None = None) -> None:
    """Check that GTZAN can be downloaded to an existing folder: it must be empty, or hold what was downloaded before.

    Raises
    ------
    ParameterError
        It holds something else.
    """
    archive = archive or Archive.from_mirdata()
    ours = {archive.music.name, f"{archive.music.name}.part", archive.index.name, f"{archive.index.name}.part"}
    existing = set(os.listdir(require_folder(path, layout=LAYOUT)))
    if any(not name.startswith(".") for name in existing - ours) and archive.music.name not in existing:
        raise ParameterError(f"data.path: must hold {LAYOUT}; got {path}.")


def _download_to(path: Path, archive: Archive, *, progress: bool) -> Path:
    """Download GTZAN to `path`; return the folder that holds the genre folders."""
    is_new = not path.exists()
    if not is_new:
        check_download_folder(path, archive)
    try:
        download(archive, path, progress=progress)
    except ParameterError as error:
        if is_new and path.is_dir() and not any(path.iterdir()):
            path.rmdir()
        raise ParameterError(f"{error} Or set data.path to a copy of GTZAN (about 1.2 GB): {_COPY}.") from None
    except OSError as error:
        raise ParameterError(f"data.path: must be writable; got {path}: {error.strerror or error}.") from None
    root = _find_root(path)
    if root is None:
        raise ParameterError(f"{archive.music.url}: must hold GTZAN. Set data.path to a copy of it: {_COPY}.")
    return root


def _make_tracks(
    files: Mapping[str, str], path: Path, root: Path, options: IngestOptions
) -> tuple[list[Track], list[str]]:
    """Return a track for each file, with published metadata and those of the table, which take precedence."""
    artists = published_artists()
    parts: Mapping[str, Part | None] = published_split()
    rows: dict[str, Row] = {}
    notes: list[str] = []
    if options.table:
        id_of = {(root / name).relative_to(path).as_posix(): track_id for track_id, name in files.items()}
        matched, notes = options.table.match(id_of, root=path)
        rows = {id_of[name]: row for name, row in matched.items()}
    if any(row.split for row in rows.values()):
        parts = {track_id: row.split for track_id, row in rows.items()}
    tracks = []
    for track_id, name in files.items():
        row = rows.get(track_id, Row())
        track = Track(
            id=track_id,
            genre=row.genre or name.partition("/")[0],
            path=name,
            group=singleton_group(track_id),
            group_source="track",
            split=parts.get(track_id),
        )
        if row.group:
            track = with_artist(track, row.group, "tracks.csv")
        if track.group_source == "track":
            track = with_artist(track, artists.get(track_id), "published")
        tracks.append(track)
    return tracks, notes


def _join(names: Sequence[str]) -> str:
    more = f" and {len(names) - _MAX_NAMED} more" if len(names) > _MAX_NAMED else ""
    return ", ".join(map(utf8_name, names[:_MAX_NAMED])) + more
