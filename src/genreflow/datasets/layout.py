"""Folders of tracks, one sub-folder a genre: which files are there, and what their place says of them."""

import os
from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import replace
from pathlib import Path

from genreflow.datasets.labels import with_artist
from genreflow.datasets.track_table import TrackTable
from genreflow.errors import ParameterError
from genreflow.manifest.track import Track, singleton_group


def walk(folder: Path, suffixes: Collection[str]) -> tuple[list[str], list[str]]:
    """Find the files with one of `suffixes` (such as ``.wav``, in any case) at any depth; links are followed.

    Returns
    -------
    names : list of str
        Sorted paths below `folder`, with ``/``.
    notes : list of str
        What was ignored. Hidden files and folders are passed over in silence.

    Raises
    ------
    ParameterError
        A sub-folder cannot be read.
    """
    names, ignored, misnamed = [], Counter(), 0
    for parent, folders, files in os.walk(folder, followlinks=True, onerror=_unreadable):
        if os.path.islink(parent) and _leads_back(parent, folder):
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
            elif any("\ud800" <= letter <= "\udfff" for letter in name):  # bytes that are not UTF-8
                misnamed += 1
            else:
                names.append(name)
    notes = []
    if ignored:
        kinds = ", ".join(f"{count} {suffix}" for suffix, count in sorted(ignored.items()))
        notes.append(f"{sum(ignored.values())} files of other kinds were ignored ({kinds}).")
    if misnamed:
        notes.append(f"{misnamed} files were ignored because their names are not UTF-8; rename them to have them used.")
    return sorted(names), notes


def _unreadable(error: OSError) -> None:
    raise ParameterError(f"{error.filename} cannot be read: {error.strerror}.") from None


def _leads_back(link: str, folder: Path) -> bool:
    """Tell whether a linked folder is one of those it lies in, which would be walked without end."""
    real = os.path.realpath(link)
    above = Path(link).parent
    while True:
        if os.path.realpath(above) == real:
            return True
        if above in (Path(folder), above.parent):
            return False
        above = above.parent


def place_tracks(names: Iterable[str], table: TrackTable, *, root: Path) -> tuple[list[Track], list[str]]:
    """Make a track of each file, with what tracks.csv and its place say of it.

    The genre is that of the table, else the first folder; the group that of the table, else the second folder
    (``<genre>/<artist>/<file>``), else the track itself.

    Parameters
    ----------
    names : iterable of str
        As `walk` gives them.
    table : TrackTable
    root : Path

    Returns
    -------
    tracks : list of Track
    notes : list of str

    Raises
    ------
    ParameterError
        As `TrackTable.match`.
    """
    names = list(names)
    rows, notes = table.match(names, root=root)
    stems = Counter(os.path.splitext(name)[0] for name in names)
    tracks, homeless, moved = [], [], []
    for name in names:
        folders = name.split("/")[:-1]
        row = rows.get(name)
        genre = (row and row.genre) or (folders[0] if folders else None)
        if genre is None:
            homeless.append(name)
            continue
        if folders and genre != folders[0]:
            moved.append(name)
        stem = os.path.splitext(name)[0]
        track_id = stem if stems[stem] == 1 else name  # song.mp3 beside song.wav
        track = Track(id=track_id, genre=genre, path=name, group=singleton_group(track_id), group_source="track")
        if row and row.group:
            track = with_artist(track, row.group, "tracks.csv")
        if track.group_source == "track" and len(folders) > 1:
            track = with_artist(track, folders[1], "folder")
        tracks.append(replace(track, split=row.split if row else None))
    if homeless:
        notes.append(
            f"{len(homeless)} files were ignored, {homeless[0]} among them, because they lie in no genre's folder and "
            f"{table.path.name} gives none."
        )
    if moved:
        notes.append(
            f"{table.path.name} gives {len(moved)} tracks another genre than their folder, {moved[0]} among them."
        )
    return tracks, notes
