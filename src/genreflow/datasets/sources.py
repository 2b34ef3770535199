"""The sources by name, and the one way in: `ingest`."""

import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from genreflow.datasets import folder as folders
from genreflow.datasets.importing import replaced_together
from genreflow.datasets.manifest import Manifest
from genreflow.datasets.request import Request, write_index
from genreflow.datasets.spectrograms import spectrograms
from genreflow.errors import ParameterError

# (path, empty folder of raw data to fill, request) -> manifest, whose paths are below that folder
Source = Callable[[Path, Path, Request], Manifest]


def demo(path: Path, destination: Path, request: Request) -> Manifest:
    """Compose the demo music that the settings file `path` describes."""
    from genreflow.datasets.demo import compose  # synthesis is not for those who bring music

    compose(path, destination, n_jobs=request.n_jobs, progress=request.progress)
    tracks, notes = folders.find(destination, replace(request, table=None))  # the demo's folders name its artists
    return Manifest.of("demo", folders.measure(tracks, destination, None, request), notes=notes)


SOURCES: dict[str, Source] = {"folder": folders.folder, "spectrograms": spectrograms, "demo": demo}


def ingest(
    source: str,
    path: Path,
    target_dir: Path,
    manifest_path: Path,
    *,
    genres: Sequence[str] | None = None,
    tracks_csv: Path | None = None,
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
    n_jobs : int
        As joblib takes it: -1 is all cores.
    progress : bool
        Show a bar on stderr.

    Raises
    ------
    ParameterError
        Anything about the source that a user can mend; the previous raw data and manifest stay as they were.
    """
    if source not in SOURCES:
        raise ParameterError(f"data.source is {source!r}; one of {', '.join(SOURCES)} is right.")
    path, target_dir = Path(path), Path(target_dir)
    inner, outer = sorted((os.path.realpath(path), os.path.realpath(target_dir)), key=len, reverse=True)
    if f"{inner}/".startswith(f"{outer}/"):
        raise ParameterError(
            f"data.path names {path}, which lies in, or holds, {target_dir}; give a place apart from it."
        )
    request = Request.with_table(tracks_csv, genres=genres or None, n_jobs=n_jobs, progress=progress)
    request = request.reusing(target_dir, manifest_path)
    with replaced_together(target_dir, manifest_path) as (raw, manifest_file):
        manifest = SOURCES[source](path, raw, request)
        manifest.save(manifest_file)
    write_index(manifest, path, manifest_path)
    return manifest
