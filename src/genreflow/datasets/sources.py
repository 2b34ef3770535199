"""The sources by name, and the one way in: `ingest`."""

import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from genreflow.datasets import folder as folders
from genreflow.datasets.combination import combine
from genreflow.datasets.fma import SUBSETS as FMA_SUBSETS
from genreflow.datasets.fma import fma
from genreflow.datasets.gtzan.source import gtzan
from genreflow.datasets.importing import replaced_together
from genreflow.datasets.request import Component, Request, write_index
from genreflow.datasets.spectrograms import spectrograms
from genreflow.errors import ParameterError
from genreflow.manifest.manifest import Manifest

# (path, empty folder of raw data to fill, request) -> manifest, whose paths are below that folder
Source = Callable[[Path, Path, Request], Manifest]


def demo(path: Path, destination: Path, request: Request) -> Manifest:
    """Compose the demo music that the settings file `path` describes."""
    from genreflow.datasets.demo import compose  # synthesis is not for those who bring music

    compose(path, destination, n_jobs=request.n_jobs, progress=request.progress)
    tracks, notes = folders.find(destination, replace(request, table=None))  # the demo's folders name its artists
    return Manifest.from_tracks("demo", folders.measure(tracks, destination, None, request), notes=notes)


def combination(path: Path, destination: Path, request: Request) -> Manifest:
    """Bring what `request.components` lists; see `combine`."""
    return combine(path, destination, request, SOURCES, downloaded=DOWNLOADED)


SOURCES: dict[str, Source] = {
    "folder": folders.folder,
    "spectrograms": spectrograms,
    "demo": demo,
    "gtzan": gtzan,
    "fma": fma,
    "combination": combination,
}
SUBSETS: dict[str, tuple[str, ...]] = {"fma": FMA_SUBSETS}
DOWNLOADED = ("gtzan", "fma")  # fetched where they are not there yet


def check_sources(source: str, *, subset: str | None = None, components: Sequence[Component] = ()) -> None:
    """Refuse what `ingest` could not do, without a look at any file.

    Raises
    ------
    ParameterError
        A source or a subset is unknown, or a list of sources is where none should be, or missing.
    """
    _check_source("data.source", source, "data.subset", subset)
    if source == "combination" and not components:
        raise ParameterError("data.source is combination, but data.sources is empty; list what it combines.")
    if source != "combination" and components:
        raise ParameterError(
            f"data.sources lists {len(components)} sources, but data.source is {source}; combination there, or an "
            "empty list here, is right."
        )
    for number, component in enumerate(components):
        where = f"data.sources, part {number + 1}:"
        if component.source == "combination":
            raise ParameterError(f"{where} a combination within a combination; list its parts here instead.")
        _check_source(f"{where} source", component.source, f"{where} subset", component.subset)


def _check_source(name: str, source: str, subset_name: str, subset: str | None) -> None:
    if source not in SOURCES:
        raise ParameterError(f"{name} is {source!r}; one of {', '.join(SOURCES)} is right.")
    known = SUBSETS.get(source, ())
    if subset is not None and subset not in known:
        right = f"one of {', '.join(known)}, or null, is right" if known else f"{source} has none, null is right"
        raise ParameterError(f"{subset_name} is {subset!r}; {right}.")


def ingest(
    source: str,
    path: Path,
    target_dir: Path,
    manifest_path: Path,
    *,
    genres: Sequence[str] | None = None,
    tracks_csv: Path | None = None,
    subset: str | None = None,
    components: Sequence[Component] = (),
    n_jobs: int = -1,
    progress: bool = True,
) -> Manifest:
    """Bring the raw data of a source into the project and write its manifest: both, or neither.

    Parameters
    ----------
    source : str
        A key of `SOURCES`.
    path : Path
        Where it lies: a folder, an ``.npz``, or the settings of the demo.
    target_dir : Path
        Folder of raw data; what it held is replaced. Unchanged files are not copied or decoded again.
    manifest_path : Path
    genres : sequence of str or None
        Subset to take; None is all.
    tracks_csv : Path or None
        Table of genres, artists and published splits; one without rows counts as none.
    subset : str or None
        Which part of a published dataset; None is what is there.
    components : sequence of Component
        Of a combination, what it combines; else none.
    n_jobs : int
        As joblib takes it: -1 is all cores.
    progress : bool
        Show a bar on stderr.

    Raises
    ------
    ParameterError
        Anything about the source that a user can mend; the previous raw data and manifest stay as they were.
    """
    check_sources(source, subset=subset, components=components)
    path, target_dir = Path(path), Path(target_dir)
    inner, outer = sorted((os.path.realpath(path), os.path.realpath(target_dir)), key=len, reverse=True)
    if f"{inner}/".startswith(f"{outer}/"):
        raise ParameterError(
            f"data.path names {path}, which lies in, or holds, {target_dir}; give a place apart from it."
        )
    request = Request.with_table(
        tracks_csv, genres=genres or None, subset=subset, components=components, n_jobs=n_jobs, progress=progress
    )
    request = request.reusing(target_dir, manifest_path)
    with replaced_together(target_dir, manifest_path) as (raw, manifest_file):
        manifest = SOURCES[source](path, raw, request)
        manifest.save(manifest_file)
    write_index(manifest, request.brought, manifest_path)
    return manifest
