"""The jobs of a feature store on a Dask cluster whose workers see its directory under the same path."""

import os
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import av
import numpy as np
import scipy
import soundfile
import soxr

from genreflow.distributed import run_jobs
from genreflow.features.shards import Job, JobResult, compute_shards
from genreflow.features.spec import FEATURE_VERSION, RowSpec
from genreflow.files import temporary_path


def compute_shards_on_dask(
    scheduler: str,
    directory: Path,
    spec: RowSpec,
    jobs: Iterator[Job],
    compute: Callable[[Any], list[np.ndarray]],
) -> Iterator[JobResult]:
    """Do what `compute_shards` does, on the workers of a Dask cluster.

    A job whose worker dies runs again on another. Shards are named after their tracks and renamed when they are
    complete, so that no track is lost or duplicated.

    Parameters
    ----------
    scheduler : str
        Address of the scheduler, such as ``tcp://host:8786``.
    directory : Path
        Directory of the store.
    spec : RowSpec
    jobs : iterator of list of (str, object)
    compute : callable
        As in `genreflow.features.update.update`. The workers must see what it reads, under absolute paths.

    Yields
    ------
    tuple
        As `compute_shards` returns it, in the order of completion.

    Raises
    ------
    ParameterError, GenreflowError
        As `genreflow.distributed.run_jobs`: among others, a worker cannot write to `directory`, or has other versions
        of the libraries that features depend on.
    """
    directory = directory.absolute()  # the workers have other working directories
    with temporary_path(directory / "probe") as probe:
        probe.touch()
        run = partial(_compute_shards, directory, spec, compute)
        yield from run_jobs(scheduler, run, jobs, describe=_describe, path=probe, expected=_describe(probe))


def _compute_shards(directory: Path, spec: RowSpec, compute: Callable[[Any], list[np.ndarray]], job: Job) -> JobResult:
    return compute_shards(directory, spec, job, compute)


def _describe(probe: Path) -> dict[str, object]:
    """Return what features depend on, and whether the directory in which `probe` was written is there."""
    writable = "writable" if os.access(probe.parent, os.W_OK) else "read-only"
    return {
        "feature version": FEATURE_VERSION,
        "numpy": np.__version__,
        "scipy": scipy.__version__,
        "soxr": soxr.__version__,
        "libsndfile": soundfile.__libsndfile_version__,
        "FFmpeg": av.ffmpeg_version_info,
        f"directory {probe.parent}": f"shared and {writable}" if probe.exists() else "not shared",
    }
