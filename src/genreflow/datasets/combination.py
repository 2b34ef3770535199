"""Several sources as one, each with its own genre map and maximum number of tracks per genre.

The published set of 2,500 tracks in ten balanced genres, from GTZAN and the FMA, is this block of params.yaml::

    data:
      source: combination
      path: data/music            # holds gtzan/ and fma/, which are downloaded if they do not exist
      sources:
        - {source: gtzan, path: gtzan, per_genre: 100}
        - source: fma
          path: fma
          subset: large           # smaller subsets do not have 150 tracks of each genre
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
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from genreflow.datasets.importing import require_folder
from genreflow.datasets.labels import genre_key, select_genres
from genreflow.datasets.options import IngestOptions
from genreflow.datasets.params import ComponentParams
from genreflow.datasets.track_table import Row, TrackTable
from genreflow.errors import ParameterError
from genreflow.manifest.manifest import Manifest
from genreflow.manifest.track import Track, singleton_group

LAYOUT = "the sources that data.sources lists"


def combine(
    path: Path,
    destination: Path,
    options: IngestOptions,
    sources: Mapping[str, Callable[[Path, Path, IngestOptions], Manifest]],
    *,
    downloadable: Sequence[str] = (),
) -> Manifest:
    """Ingest each component into a folder of its own, whose name becomes a prefix of the ids and paths.

    Groups get no prefix: an artist in two components is one group, which no split divides.

    Parameters
    ----------
    path : Path
        Folder that holds the components.
    destination : Path
        Empty folder for the raw data.
    options : IngestOptions
        `options.components` lists the components.
    sources : mapping of str to callable
        Sources by name.
    downloadable : sequence of str
        Sources that are downloaded if they do not exist.

    Raises
    ------
    ParameterError
        A component does not exist, is outside of `path`, or does not fit the others; or the component itself is
        invalid.
    """
    path = require_folder(path, layout=LAYOUT)
    folders = component_folders(path, options.components, downloadable)
    _check_compatible(options.components)
    tables = _component_tables(options.table, path, folders)
    manifests: dict[str, Manifest] = {}
    for name, component in zip(folders, options.components, strict=True):
        if options.genres and component.genres and not set(options.genres) & set(component.genres.values()):
            continue
        own = _component_options(name, component, options, tables.get(name))
        (destination / name).mkdir()
        manifests[name] = sources[component.source](folders[name], destination / name, own)
        options.cache.add_component(name, own.cache)
    tracks = [_with_prefix(track, name) for name, manifest in manifests.items() for track in manifest.tracks]
    select_genres(tracks, options.genres, where=str(path))
    notes = [f"{name}: {note}" for name, manifest in manifests.items() for note in manifest.notes]
    notes += _count_notes(manifests, folders, options.components)
    hints = _common_hints(manifests)
    # Combined spectrograms are read like those of a single source.
    return Manifest.from_tracks("spectrograms" if hints else "combination", tracks, spec_hints=hints, notes=notes)


def component_folders(
    path: Path, components: Sequence[ComponentParams], downloadable: Sequence[str] = ()
) -> dict[str, Path]:
    """Return the folder of each component by its name, which is derived from its path, else from its source.

    Raises
    ------
    ParameterError
        A component does not exist, is outside of `path`, or has the name of another.
    """
    folders: dict[str, Path] = {}
    root = os.path.abspath(path)
    for number, component in enumerate(components):
        where = f"data.sources.{number}.path"
        relative = os.path.relpath(os.path.abspath(os.path.join(root, component.path)), root)
        folder = Path(path, relative)
        if relative.split(os.sep)[0] == os.pardir:
            raise ParameterError(f"{where}: must be inside of data.path, {path}; got {component.path}.")
        if not folder.exists() and component.source not in downloadable:
            raise ParameterError(f"{where}: must exist in data.path, {path}; got {component.path}.")
        name = re.sub(r"[^\w-]+", "-", relative).strip("-") or component.source
        if name in folders:
            raise ParameterError(
                f"{where}: must have a name of its own; got {component.path}, named {name} as another."
            )
        folders[name] = folder
    return folders


def _check_compatible(components: Sequence[ComponentParams]) -> None:
    if len({component.source == "spectrograms" for component in components}) > 1:
        raise ParameterError(
            "data.sources: must be either all spectrograms or all audio, since imported spectrograms are not computed "
            "by the same code; got both."
        )
    spellings: dict[str, str] = {}
    for component in components:
        for genre in component.genres.values():
            other = spellings.setdefault(genre_key(genre) or genre, genre)
            if other != genre:
                raise ParameterError(f"data.sources: each genre must have one spelling; got {other!r} and {genre!r}.")


def _component_tables(table: TrackTable | None, path: Path, folders: Mapping[str, Path]) -> dict[str, TrackTable]:
    """Return the table of each component, by its name; `table` lists tracks by their path relative to `path`."""
    if table is None:
        return {}
    rows: dict[str, dict[str, Row]] = {}
    prefixes = {f"{os.path.relpath(folder, path)}/".removeprefix("./"): name for name, folder in folders.items()}
    for key, row in table.rows.items():
        relative = key.removeprefix(f"{os.path.abspath(path)}/").removeprefix("./")
        prefix = max((prefix for prefix in prefixes if relative.startswith(prefix)), key=len, default=None)
        if prefix is None:
            raise ParameterError(
                f"{table.path}: paths must be in a component of the combination, relative to {path}; got {key}."
            )
        rows.setdefault(prefixes[prefix], {})[relative.removeprefix(prefix)] = row
    return {name: TrackTable(table.path, own) for name, own in rows.items()}


def _component_options(
    name: str, component: ComponentParams, options: IngestOptions, table: TrackTable | None
) -> IngestOptions:
    return replace(
        options,
        table=table,
        subset=component.subset,
        genre_map=component.genres,
        per_genre=component.per_genre,
        components=(),
        is_component=True,
        cache=options.cache.component(name),
    )


def _with_prefix(track: Track, name: str) -> Track:
    track_id, path = f"{name}/{track.id}", f"{name}/{track.path}"
    group = singleton_group(track_id) if track.group_source == "track" else track.group
    error = track.error and {**track.error, "message": track.error["message"].replace(track.path, path, 1)}
    return replace(track, id=track_id, path=path, group=group, error=error)


def _count_notes(
    manifests: Mapping[str, Manifest], folders: Mapping[str, Path], components: Sequence[ComponentParams]
) -> list[str]:
    """List the components that have fewer tracks than their maximum, or none."""
    notes = []
    for name, component in zip(folders, components, strict=True):
        if name not in manifests:
            notes.append(f"{name}: has none of the genres in data.genres.")
            continue
        counts = manifests[name].tracks_per_genre
        fewer = [f"{genre} {count}" for genre, count in counts.items() if count < (component.per_genre or 0)]
        if fewer:
            notes.append(f"{name}: fewer than per_genre = {component.per_genre} tracks: {', '.join(fewer)}.")
    return notes


def _common_hints(manifests: Mapping[str, Manifest]) -> dict[str, Any]:
    """Return the spec hints that all components share; empty for audio."""
    (first, hints), *others = ((name, dict(manifest.spec_hints)) for name, manifest in manifests.items())
    for name, theirs in others:
        for key in ("n_mels", "level_reference"):
            if hints.get(key) != theirs.get(key):
                raise ParameterError(
                    f"data.sources: spectrograms must have the same {key}; got {hints.get(key)} in {first}, "
                    f"{theirs.get(key)} in {name}."
                )
        if hints.get("frames_kept") != theirs.get("frames_kept"):
            hints.pop("frames_kept", None)
    return hints
