"""GTZAN as a source: from a copy in any layout in which it goes round, or from its archive."""

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from genreflow.audio.readers import AUDIO_SUFFIXES
from genreflow.datasets.choice import choose
from genreflow.datasets.folder import measure
from genreflow.datasets.gtzan.archive import Archive, differing, download, published_checksums
from genreflow.datasets.gtzan.facts import GENRES, TRACK_IDS, published_artists, published_split
from genreflow.datasets.importing import existing_folder
from genreflow.datasets.labels import with_artist
from genreflow.datasets.request import Request
from genreflow.errors import ParameterError
from genreflow.manifest.manifest import Manifest
from genreflow.manifest.track import Track, singleton_group

# Where a copy has the folders of its genres: in mirdata's home, in the archive, and on Kaggle.
_HOMES = ("", "genres", "gtzan_genre/genres", "genres_original", "Data/genres_original")
_COPY = (
    "genres/blues/blues.00000.au (or .wav) as published, Data/genres_original/blues/blues.00000.wav as on Kaggle, or "
    "the folders of the genres themselves"
)
LAYOUT = f"{_COPY}; or an empty folder to download into"
_NAMED = 5  # files that a note names at most


def gtzan(path: Path, destination: Path, request: Request, *, archive: Archive | None = None) -> Manifest:
    """Bring GTZAN, downloading it first if `path` is empty.

    Artists and the fault-filtered split are those published (`facts`), unless the table of the request names others.
    A table that names parts replaces the published split whole: no track is in a part of one and of the other.

    Parameters
    ----------
    path : Path
        A copy in any layout of `LAYOUT`, or an empty or missing folder.
    destination : Path
        Empty folder of raw data, which becomes ``<genre>/<genre>.<number>.<suffix>``.
    request : Request
    archive : Archive or None
        Where it is published; None is where mirdata says.

    Raises
    ------
    ParameterError
        `path` holds other things, cannot be read, or is empty and the archive cannot be fetched; or as `folder`.
    """
    path = Path(path)
    home = _home(path)
    if home is None:
        archive = archive or Archive.of_mirdata()
        _download_into(path, archive, progress=request.progress)
        home = _home(path)
    files, notes = _excerpts(home)
    tracks, table_notes = _place(files, path, home, request)
    notes += _missing(files) + table_notes
    tracks = choose(tracks, request, where=str(path))
    measured = measure(tracks, home, destination, request)
    notes += _compare([home / track.path for track in tracks], path, archive, n_jobs=request.n_jobs)
    return Manifest.from_tracks("gtzan", measured, notes=notes)


def _home(path: Path) -> Path | None:
    """Return the folder of a copy that holds those of the genres."""
    return next((path / home for home in _HOMES if _excerpts(path / home)[0]), None)


def _excerpts(home: Path) -> tuple[dict[str, str], list[str]]:
    """Return the files that are named as excerpts, ``<genre>/<file>`` by id, and notes on those that are not taken."""
    files: dict[str, str] = {}
    others, twins = [], []
    for genre in GENRES:
        try:
            names = sorted(os.listdir(home / genre))
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError as error:
            raise ParameterError(f"{home / genre} cannot be read: {error.strerror}.") from None
        for name in names:
            track_id, suffix = os.path.splitext(name)
            if name.startswith("."):
                continue
            if not re.fullmatch(rf"{genre}\.000\d\d", track_id) or suffix.lower() not in AUDIO_SUFFIXES:
                others.append(f"{genre}/{name}")
            elif track_id in files:
                twins.append(f"{genre}/{name}")
            else:
                files[track_id] = f"{genre}/{name}"
    notes = []
    if others:
        notes.append(f"{len(others)} files were ignored that are not named as excerpts of GTZAN: {_some(others)}.")
    if twins:
        notes.append(f"{len(twins)} files were ignored because another file holds their excerpt: {_some(twins)}.")
    return files, notes


def _download_into(path: Path, archive: Archive, *, progress: bool) -> None:
    ours = {archive.music.name, f"{archive.music.name}.part", archive.index.name, f"{archive.index.name}.part"}
    missing = not path.exists()
    if not missing:
        there = set(os.listdir(existing_folder(path, layout=LAYOUT)))
        if any(not name.startswith(".") for name in there - ours) and archive.music.name not in there:
            raise ParameterError(f"{path} does not hold GTZAN; expected is {LAYOUT}.")
    try:
        download(archive, path, progress=progress)
    except ParameterError as error:
        if missing and path.is_dir() and not any(path.iterdir()):
            path.rmdir()
        raise ParameterError(f"{error} Or let data.path name a copy of GTZAN (about 1.2 GB): {_COPY}.") from None
    except OSError as error:
        raise ParameterError(f"{path} cannot be downloaded into: {error.strerror or error}.") from None
    if _home(path) is None:
        raise ParameterError(f"{archive.music.url} does not hold GTZAN; let data.path name a copy of it: {_COPY}.")


def _place(files: Mapping[str, str], path: Path, home: Path, request: Request) -> tuple[list[Track], list[str]]:
    """Make a track of each file, with what is published of it and what the table says otherwise."""
    artists, parts = published_artists(), published_split()
    rows, notes = {}, []
    if request.table:
        names = {(home / name).relative_to(path).as_posix(): track_id for track_id, name in files.items()}
        found, notes = request.table.match(names, root=path)
        rows = {names[name]: row for name, row in found.items()}
    if any(row.split for row in rows.values()):
        parts = {track_id: row.split for track_id, row in rows.items()}
    tracks = []
    for track_id, name in files.items():
        row = rows.get(track_id)
        track = Track(
            id=track_id,
            genre=(row and row.genre) or name.partition("/")[0],
            path=name,
            group=singleton_group(track_id),
            group_source="track",
            split=parts.get(track_id),
        )
        if row and row.group:
            track = with_artist(track, row.group, "tracks.csv")
        if track.group_source == "track":
            track = with_artist(track, artists.get(track_id), "published")
        tracks.append(track)
    return tracks, notes


def _missing(files: Mapping[str, str]) -> list[str]:
    missing = [track_id for track_id in TRACK_IDS if track_id not in files]
    return [f"{len(missing)} of the {len(TRACK_IDS):,} tracks are missing: {_some(missing)}."] if missing else []


def _compare(files: Sequence[Path], path: Path, archive: Archive | None, *, n_jobs: int) -> list[str]:
    """Say which files are not as published; the index names wav files."""
    files = [file for file in files if file.suffix == ".wav"]
    if not files:
        return []
    archive = archive or Archive.of_mirdata()
    checksums = published_checksums(archive, path)
    if not checksums:
        return [
            f"The files were not compared with the published checksums, which are not here; put {archive.index.url} "
            f"as {archive.index.name} into data.path to have that done."
        ]
    others = differing(files, checksums, n_jobs=n_jobs)
    return [f"{len(others)} of {len(files):,} files are not as published: {_some(others)}."] if others else []


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(name.encode("utf-8", "replace").decode() for name in names[:_NAMED]) + more
