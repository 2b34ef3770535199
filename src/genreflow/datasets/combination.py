"""Several sources as one: each with its own genre map and cap, below one folder.

The set of 2,500 tracks in ten balanced genres that is made of GTZAN and of the FMA is this block of params.yaml::

    data:
      source: combination
      path: data/music            # holds gtzan/ and fma/; what is not there yet is downloaded
      sources:
        - {source: gtzan, path: gtzan, per_genre: 100}
        - source: fma
          path: fma
          subset: large           # no smaller one has 150 tracks of each
          per_genre: 150
          genres:
            Blues: blues
            Classical: classical
            Country: country
            Disco: disco
            Hip-Hop: hiphop
            Jazz: jazz
            Metal: metal
            Pop: pop
            Reggae - Dub: reggae
            Rock: rock
"""

import os
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from genreflow.datasets.importing import existing_folder
from genreflow.datasets.labels import genre_key, select_genres
from genreflow.datasets.request import Component, Request
from genreflow.datasets.track_table import Row, TrackTable
from genreflow.errors import ParameterError
from genreflow.manifest.manifest import Manifest
from genreflow.manifest.track import Track, singleton_group

LAYOUT = "the folder that holds what data.sources lists"


def combine(
    path: Path,
    destination: Path,
    request: Request,
    bring: Mapping[str, Callable[[Path, Path, Request], Manifest]],
    *,
    downloaded: Sequence[str] = (),
) -> Manifest:
    """Bring each part into a folder of its own; ids and paths get that folder's name in front.

    Groups keep their names: an artist who is in two parts is one group, which no split divides.

    Parameters
    ----------
    path : Path
        The folder that holds the parts.
    destination : Path
        Empty folder of raw data.
    request : Request
        `components` says what to combine.
    bring : mapping of str to callable
        The sources by name.
    downloaded : sequence of str
        Sources that make what is not there yet.

    Raises
    ------
    ParameterError
        A part is not there, lies elsewhere, or is of another kind than the rest; or anything about one of them.
    """
    path = existing_folder(path, layout=LAYOUT)
    folders = part_folders(path, request.components, downloaded)
    _check_alike(request.components)
    tables = _tables(request.table, path, folders)
    manifests = {}
    for name, component in zip(folders, request.components, strict=True):
        part = _request(name, component, request, tables.get(name))
        if part.genres and component.genres and not set(part.genres) & set(component.genres.values()):
            continue  # data.genres wants none of it
        (destination / name).mkdir()
        manifests[name] = bring[component.source](folders[name], destination / name, part)
        request.brought.update({f"{name}/{file}": facts for file, facts in part.brought.items()})
    tracks = [_prefixed(track, name) for name, manifest in manifests.items() for track in manifest.tracks]
    select_genres(tracks, request.genres, where=f"The combination below {path}")
    notes = [f"{name}: {note}" for name, manifest in manifests.items() for note in manifest.notes]
    notes += _counts(manifests, folders, request.components)
    hints = _hints(manifests)
    # The spectrograms of several sources are spectrograms, for all that follows.
    return Manifest.from_tracks("spectrograms" if hints else "combination", tracks, spec_hints=hints, notes=notes)


def part_folders(path: Path, components: Sequence[Component], downloaded: Sequence[str] = ()) -> dict[str, Path]:
    """Return where each part lies, by the name it gets: that of its place below `path`, else that of its source.

    Raises
    ------
    ParameterError
        A part is not there, not below `path`, or gets the name of another.
    """
    folders: dict[str, Path] = {}
    root = os.path.abspath(path)
    for number, component in enumerate(components):
        where = f"data.sources, part {number + 1} ({component.source}): its path {component.path}"
        below = os.path.relpath(os.path.abspath(os.path.join(root, component.path)), root)
        if below.split(os.sep)[0] == os.pardir:
            raise ParameterError(f"{where} lies outside of data.path, {path}; a place below that is right.")
        folder = Path(path, below)
        if not folder.exists() and component.source not in downloaded:
            raise ParameterError(f"{where} does not exist below data.path, {path}.")
        name = re.sub(r"[^\w-]+", "-", below).strip("-") or component.source
        if name in folders:
            raise ParameterError(f"{where} would get the name {name} of another part; give it a place of its own.")
        folders[name] = folder
    return folders


def _check_alike(components: Sequence[Component]) -> None:
    kinds = {component.source == "spectrograms" for component in components}
    if len(kinds) > 1:
        raise ParameterError(
            "data.sources combines spectrograms with audio, whose features are made in another way; one kind is right."
        )
    spellings: dict[str, str] = {}
    for component in components:
        for ours in component.genres.values():
            other = spellings.setdefault(genre_key(ours) or ours, ours)
            if other != ours:
                raise ParameterError(
                    f"data.sources spells one genre in two ways: {other!r} and {ours!r}; give it one name."
                )


def _tables(table: TrackTable | None, path: Path, folders: Mapping[str, Path]) -> dict[str, TrackTable]:
    """Return the rows on each part, by its name; the table names tracks by their path below `path`."""
    if table is None:
        return {}
    rows: dict[str, dict[str, Row]] = {}
    fronts = {f"{os.path.relpath(folder, path)}/".removeprefix("./"): name for name, folder in folders.items()}
    for key, row in table.rows.items():
        below = key.removeprefix(f"{os.path.abspath(path)}/").removeprefix("./")
        front = max((front for front in fronts if below.startswith(front)), key=len, default=None)
        if front is None:
            raise ParameterError(
                f"{table.path} names {key}, which lies in no part of the combination; give paths below {path}."
            )
        rows.setdefault(fronts[front], {})[below.removeprefix(front)] = row
    return {name: TrackTable(table.path, of_one) for name, of_one in rows.items()}


def _request(name: str, component: Component, request: Request, table: TrackTable | None) -> Request:
    """Return what is asked of one part, and what of an earlier run is its own."""
    front = f"{name}/"
    own = {
        field: {
            key.removeprefix(front): facts for key, facts in getattr(request, field).items() if key.startswith(front)
        }
        for field in ("known", "ingested")
    }
    return replace(
        request,
        table=table,
        earlier=request.earlier and request.earlier / name,
        subset=component.subset,
        genre_map=component.genres,
        per_genre=component.per_genre,
        components=(),
        partial=True,
        brought={},
        **own,
    )


def _prefixed(track: Track, name: str) -> Track:
    track_id, path = f"{name}/{track.id}", f"{name}/{track.path}"
    group = singleton_group(track_id) if track.group_source == "track" else track.group
    error = track.error and {**track.error, "message": track.error["message"].replace(track.path, path, 1)}
    return replace(track, id=track_id, path=path, group=group, error=error)


def _counts(
    manifests: Mapping[str, Manifest], folders: Mapping[str, Path], components: Sequence[Component]
) -> list[str]:
    """Say where a part had fewer tracks than its cap."""
    notes = []
    for name, component in zip(folders, components, strict=True):
        counts = manifests[name].tracks_per_genre if name in manifests else Counter()
        few = [f"{genre} {count}" for genre, count in counts.items() if count < (component.per_genre or 0)]
        if few:
            notes.append(f"{name}: fewer than {component.per_genre} tracks of {', '.join(few)}.")
        if name not in manifests:
            notes.append(f"{name}: has none of the genres that data.genres names.")
    return notes


def _hints(manifests: Mapping[str, Manifest]) -> dict:
    """Return what all say of their feature spec; nothing where they bring audio."""
    (first, hints), *others = ((name, dict(manifest.spec_hints)) for name, manifest in manifests.items())
    for name, theirs in others:
        for key in ("n_mels", "level_reference"):
            if hints.get(key) != theirs.get(key):
                raise ParameterError(
                    f"data.sources: the spectrograms of {name} have {key} {theirs.get(key)}, those of {first} "
                    f"{hints.get(key)}; all must be made alike."
                )
        if hints.get("frames_kept") != theirs.get("frames_kept"):
            hints.pop("frames_kept", None)
    return hints
