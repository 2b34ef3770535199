"""The sources by name, and `ingest`, which imports one of them into the project."""

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from genreflow.datasets import folder as folders
from genreflow.datasets.cache import IngestCache
from genreflow.datasets.combination import combine
from genreflow.datasets.corrections import Corrections, add_corrections
from genreflow.datasets.fma import SUBSETS as FMA_SUBSETS
from genreflow.datasets.fma import fma
from genreflow.datasets.gtzan.source import gtzan
from genreflow.datasets.importing import atomic_import
from genreflow.datasets.options import IngestOptions, read_table
from genreflow.datasets.params import DataParams
from genreflow.datasets.selection import select_tracks
from genreflow.datasets.spectrograms import spectrograms
from genreflow.errors import ParameterError
from genreflow.manifest.manifest import Manifest

# (path, empty folder for the raw data, options) -> manifest with paths relative to the folder
Source = Callable[[Path, Path, IngestOptions], Manifest]


def demo(path: Path, destination: Path, options: IngestOptions) -> Manifest:
    """Compose the demo music according to the settings file `path`."""
    from genreflow.datasets.demo import compose  # imports the synthesis

    compose(path, destination, n_jobs=options.n_jobs, progress=options.progress)
    options = replace(options, table=None)  # the folders name the artists
    tracks, notes = folders.list_tracks(destination, options)
    tracks = select_tracks(tracks, options, where=str(path))
    return Manifest.from_tracks("demo", folders.measure_tracks(tracks, destination, options), notes=notes)


def combination(path: Path, destination: Path, options: IngestOptions) -> Manifest:
    """Ingest several sources as one; see `combine`."""
    return combine(path, destination, options, SOURCES, downloadable=DOWNLOADABLE)


SOURCES: dict[str, Source] = {
    "folder": folders.folder,
    "spectrograms": spectrograms,
    "demo": demo,
    "gtzan": gtzan,
    "fma": fma,
    "combination": combination,
}
SUBSETS: dict[str, tuple[str, ...]] = {"fma": FMA_SUBSETS}
DOWNLOADABLE = ("gtzan", "fma")  # downloaded if they do not exist


def check_sources(data: DataParams) -> None:
    """Check names of sources and subsets, without reading any file.

    Raises
    ------
    ParameterError
        A source or subset is unknown, or `data.sources` does not fit `data.source`.
    """
    _check_source(data.source, data.subset, where="data")
    if data.source == "combination" and not data.sources:
        raise ParameterError("data.sources: must list the sources of the combination; got none.")
    if data.source != "combination" and data.sources:
        raise ParameterError(
            f"data.sources: must be empty unless data.source is combination; got {len(data.sources)} sources for "
            f"{data.source}."
        )
    for number, component in enumerate(data.sources):
        where = f"data.sources.{number}"
        if component.source == "combination":
            raise ParameterError(f"{where}.source: must not be combination; list its sources here instead.")
        _check_source(component.source, component.subset, where=where)


def _check_source(source: str, subset: str | None, *, where: str) -> None:
    if source not in SOURCES:
        raise ParameterError(f"{where}.source: must be one of {', '.join(SOURCES)}; got {source!r}.")
    known = SUBSETS.get(source, ())
    if subset is not None and subset not in known:
        expected = f"one of {', '.join(known)}, or null" if known else f"null for {source}"
        raise ParameterError(f"{where}.subset: must be {expected}; got {subset!r}.")


def ingest(
    data: DataParams,
    raw_dir: Path,
    manifest_path: Path,
    *,
    corrections: Path | None = None,
    n_jobs: int = -1,
    progress: bool = True,
) -> Manifest:
    """Import a source into the project: its raw data and its manifest, both or neither.

    Parameters
    ----------
    data : DataParams
    raw_dir : Path
        Folder for the raw data; previous content is replaced. Unchanged files are not copied or decoded again.
    manifest_path : Path
    corrections : Path, optional
        Folder of `Corrections`, which are added.
    n_jobs : int
        Number of parallel jobs, as in joblib: -1 means one per core.
    progress : bool
        Show progress bars on stderr.

    Raises
    ------
    ParameterError
        The source or a correction is invalid; previous raw data and manifest stay as they are.
    """
    check_sources(data)
    raw_dir, manifest_path = Path(raw_dir), Path(manifest_path)
    check_apart(data.path, raw_dir)
    options = IngestOptions(
        n_jobs=n_jobs,
        progress=progress,
        genres=data.genres,
        table=read_table(data.tracks),
        subset=data.subset,
        components=data.sources,
        cache=IngestCache.load(raw_dir, manifest_path),
    )
    with atomic_import(raw_dir, manifest_path) as (new_raw_dir, new_manifest_path):
        manifest = SOURCES[data.source](data.path, new_raw_dir, options)
        if corrections is not None:
            manifest = add_corrections(manifest, Corrections(corrections), new_raw_dir, raw_dir, options)
        manifest.save(new_manifest_path)
    options.cache.save(manifest, manifest_path)
    return manifest


def check_apart(path: Path, raw_dir: Path) -> None:
    """Check that neither folder is inside the other."""
    inner, outer = sorted((os.path.realpath(path), os.path.realpath(raw_dir)), key=len, reverse=True)
    if f"{inner}/".startswith(f"{outer}/"):
        raise ParameterError(f"data.path: must be neither inside nor above {raw_dir}; got {path}.")
