"""Folders of tracks with one sub-folder per genre: find the files, and derive metadata from their paths."""

import os
from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import replace
from pathlib import Path

from genreflow.datasets.labels import with_artist
from genreflow.datasets.track_table import Row, TrackTable
from genreflow.errors import ParameterError
from genreflow.manifest.track import Track, singleton_group


def find_files(folder: Path, suffixes: Collection[str]) -> tuple[list[str], list[str]]:
    """Find files by suffix, recursively; symbolic links are followed.

    Parameters
    ----------
    folder : Path
    suffixes : collection of str
        Lower case, such as ``.wav``; the case of the files' suffixes is ignored.

    Returns
    -------
    names : list of str
        Sorted paths relative to `folder`, with ``/``.
    notes : list of str
        What was ignored, apart from hidden files and folders.

    Raises
    ------
    ParameterError
        A sub-folder cannot be read.
    """
    names: list[str] = []
    ignored: Counter[str] = Counter()
    undecodable_names = 0
    for parent, folders, files in os.walk(folder, followlinks=True, onerror=_raise):
        if os.path.islink(parent) and _is_cycle(parent, folder):
            folders.clear()
            continue
        folders[:] = [name for name in folders if not name.startswith(".")]
        for file in files:
            if file.startswith(".") or file == "tracks.csv":
                continue
            suffix = os.path.splitext(file)[1].lower()
            name = os.path.relpath(os.path.join(parent, file), folder).replace(os.sep, "/")
            if suffix not in suffixes:
                ignored[suffix or "no suffix"] += 1
            elif any("\ud800" <= letter <= "\udfff" for letter in name):  # surrogates: bytes that are not UTF-8
                undecodable_names += 1
            else:
                names.append(name)
    notes = []
    if ignored:
        kinds = ", ".join(f"{count} {suffix}" for suffix, count in sorted(ignored.items()))
        notes.append(f"{sum(ignored.values())} files of other types were ignored ({kinds}).")
    if undecodable_names:
        notes.append(f"{undecodable_names} files were ignored because their names are not UTF-8; rename them.")
    return sorted(names), notes


def _raise(error: OSError) -> None:
    raise ParameterError(f"{error.filename}: must be readable; got {error.strerror}.") from None


def _is_cycle(link: str, folder: Path) -> bool:
    """Return whether a linked folder is one of its own parents up to `folder`."""
    target = os.path.realpath(link)
    parent = Path(link).parent
    while True:
        if os.path.realpath(parent) == target:
            return True
        if parent in (Path(folder), parent.parent):
            return False
        parent = parent.parent


def tracks_from_paths(names: Iterable[str], table: TrackTable, *, root: Path) -> tuple[list[Track], list[str]]:
    """Create a track for each file, with metadata from tracks.csv and from its path.

    The genre is that of the table, else the first folder. The group is that of the table, else the second folder
    (``<genre>/<artist>/<file>``), else the track itself.

    Parameters
    ----------
    names : iterable of str
        Paths relative to `root`, as returned by `find_files`.
    table : TrackTable
    root : Path

    Returns
    -------
    tracks : list of Track
    notes : list of str

    Raises
    ------
    ParameterError
        See `TrackTable.match`.
    """
    names = list(names)
    rows, notes = table.match(names, root=root)
    stems = Counter(os.path.splitext(name)[0] for name in names)
    tracks, without_genre, relabelled = [], [], []
    for name in names:
        stem = os.path.splitext(name)[0]
        track = _track(name, rows.get(name, Row()), track_id=stem if stems[stem] == 1 else name)
        if track is None:
            without_genre.append(name)
            continue
        tracks.append(track)
        if "/" in name and track.genre != name.partition("/")[0]:
            relabelled.append(name)
    if without_genre:
        notes.append(
            f"{len(without_genre)} files without a genre were ignored, for example {without_genre[0]}: they are in no "
            f"genre's folder, and {table.path.name} does not list a genre."
        )
    if relabelled:
        notes.append(f"{table.path.name} overrides the genre of {len(relabelled)} tracks, for example {relabelled[0]}.")
    return tracks, notes


def _track(name: str, row: Row, *, track_id: str) -> Track | None:
    """Return a track; None if neither table nor path gives its genre."""
    folders = name.split("/")[:-1]
    genre = row.genre or (folders[0] if folders else None)
    if genre is None:
        return None
    track = Track(id=track_id, genre=genre, path=name, group=singleton_group(track_id), group_source="track")
    if row.group:
        track = with_artist(track, row.group, "tracks.csv")
    if track.group_source == "track" and len(folders) > 1:
        track = with_artist(track, folders[1], "folder")
    return replace(track, split=row.split)
