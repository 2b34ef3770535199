"""Folders of tracks with one sub-folder per genre: find the files, and derive metadata from their paths."""

import os
from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from genreflow.datasets.labels import with_artist
from genreflow.datasets.track_table import Row, TrackTable
from genreflow.errors import ParameterError, counted
from genreflow.file_names import utf8_name
from genreflow.manifest.track import Track, singleton_group


class FoundFiles(NamedTuple):
    """The files that `find_files` found.

    Parameters
    ----------
    names : list of str
        Sorted paths relative to the folder, with ``/``.
    refused : dict of str to str
        Files that cannot be tracks: by their name, which is valid UTF-8, what their name or path must be. Folders end
        in ``/``.
    notes : list of str
        What was ignored, apart from hidden files and folders.
    """

    names: list[str]
    refused: dict[str, str]
    notes: list[str]


def find_files(folder: Path, suffixes: Collection[str]) -> FoundFiles:
    """Find files by suffix, recursively; symbolic links are followed unless they lead out of the folder.

    Parameters
    ----------
    folder : Path
    suffixes : collection of str
        Lower case, such as ``.wav``; the case of the files' suffixes is ignored.

    Raises
    ------
    ParameterError
        A sub-folder cannot be read.
    """
    names: list[str] = []
    not_utf8: list[str] = []
    links: list[str] = []
    ignored: Counter[str] = Counter()
    for parent, folders, files in os.walk(folder, followlinks=True, onerror=_raise):
        relative = os.path.relpath(parent, folder).replace(os.sep, "/")
        if os.path.islink(parent) and parent != os.fspath(folder):
            if not is_inside(parent, folder):
                links.append(f"{relative}/")
            if not is_inside(parent, folder) or _is_cycle(parent, folder):
                folders.clear()
                continue
        folders[:] = [name for name in folders if not name.startswith(".")]
        for file in files:
            if file.startswith(".") or file == "tracks.csv":
                continue
            suffix = os.path.splitext(file)[1].lower()
            name = file if relative == "." else f"{relative}/{file}"
            if suffix not in suffixes:
                ignored[suffix or "no suffix"] += 1
            elif utf8_name(name) != name:
                not_utf8.append(name)
            else:
                names.append(name)
    refused = _refuse(not_utf8, "must have a name in UTF-8; rename it", names)
    refused |= _refuse(links, "must not be a link that leaves the folder; copy what it leads to", names)
    notes = []
    if ignored:
        kinds = ", ".join(f"{count} {utf8_name(suffix)}" for suffix, count in sorted(ignored.items()))
        total = counted(sum(ignored.values()), "file of another type was", "files of other types were")
        notes.append(f"{total} ignored ({kinds}).")
    return FoundFiles(sorted(names), refused, notes)


def is_inside(path: str | Path, folder: str | Path) -> bool:
    """Return whether a path is in a folder after all symbolic links are followed."""
    return Path(os.path.realpath(path)).is_relative_to(os.path.realpath(folder))


def _refuse(names: Iterable[str], reason: str, others: Collection[str]) -> dict[str, str]:
    refused: dict[str, str] = {}
    taken = set(others)
    for name in sorted(names):
        text = utf8_name(name)
        while text in taken:  # a name that has the escape sequence itself
            text += "?"
        taken.add(text)
        refused[text] = reason
    return refused


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


def tracks_from_paths(found: FoundFiles, table: TrackTable, *, root: Path) -> tuple[list[Track], list[str]]:
    """Create a track for each file, with metadata from tracks.csv and from its path.

    The genre is that of the table, else the first folder. The group is that of the table, else the second folder
    (``<genre>/<artist>/<file>``), else the track itself.

    Parameters
    ----------
    found : FoundFiles
        What `find_files` found in `root`.
    table : TrackTable
    root : Path

    Returns
    -------
    tracks : list of Track
        Those of refused files have an `error`.
    notes : list of str

    Raises
    ------
    ParameterError
        See `TrackTable.match`.
    """
    names = [*found.names, *found.refused]
    rows, notes = table.match(names, root=root)
    tracks, without_genre, relabelled = [], [], []
    # Refused files, which may have any name, do not change the ids of the others.
    ids = track_ids(found.names)
    ids |= {name: name if name not in ids.values() else f"{name}?" for name in found.refused}
    for name, track_id in ids.items():
        track = _track(name, rows.get(name, Row()), track_id=track_id)
        if track is None:
            without_genre.append(name)
            continue
        if name in found.refused:
            error = {"code": "undecodable", "message": f"{name}: {found.refused[name]}."}
            track = replace(track, error=error)
        tracks.append(track)
        if "/" in name and track.genre != name.partition("/")[0]:
            relabelled.append(name)
    if without_genre:
        number = counted(len(without_genre), "file without a genre was", "files without a genre were")
        notes.append(
            f"{number} ignored, for example {without_genre[0]}: in no genre's folder, and {table.path.name} does not "
            "list a genre."
        )
    if relabelled:
        number = counted(len(relabelled), "track")
        notes.append(f"{table.path.name} overrides the genre of {number}, for example {relabelled[0]}.")
    return tracks, notes


def track_ids(names: Iterable[str]) -> dict[str, str]:
    """Return the id of each file: its path without suffix, or with it where another file would have the same id.

    Parameters
    ----------
    names : iterable of str
        Paths, each once.
    """
    stems = {name: os.path.splitext(name)[0] for name in names}
    uses = Counter(stems.values())
    full = {name for name, stem in stems.items() if uses[stem] > 1}
    # The id of `a.mp3.wav` would be `a.mp3`, which is that of `a.mp3` itself if there is an `a.wav`, and so on.
    while clashing := {name for name, stem in stems.items() if name not in full and stem in full}:
        full |= clashing
    return {name: name if name in full else stem for name, stem in stems.items()}


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
