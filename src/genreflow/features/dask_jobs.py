"""The jobs of a feature store on the workers of a Dask cluster, which see its folder under the same path."""

import os
import platform
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import scipy
import soundfile
import soxr

import genreflow
from genreflow.distributed import connected, spread
from genreflow.errors import ParameterError
from genreflow.features.shards import Job, JobResult, compute_shards
from genreflow.features.spec import FEATURE_VERSION, FeatureSpec
from genreflow.files import temporary_path


def run_on_cluster(
    scheduler: str,
    directory: Path,
    spec: FeatureSpec,
    jobs: Iterator[Job],
    compute: Callable[[Any], list[np.ndarray]],
) -> Iterator[JobResult]:
    """Let the workers of a Dask cluster do what `compute_shards` does, and yield what they report as it comes.

    A job whose worker dies is done again by another. Shards are named after their tracks and renamed into place, so
    that no track is lost or doubled by that. Jobs that wait are taken back when the iterator is closed.

    Parameters
    ----------
    scheduler : str
        Address of its scheduler, such as ``tcp://host:8786``.
    directory : Path
        Folder of the store.
    spec : FeatureSpec
    jobs : iterator of list of (str, object)
    compute : callable
        As `features.store.update` takes it; what it reads must be there for the workers too, under absolute paths.

    Raises
    ------
    ParameterError
        Dask is not installed, no scheduler answers, it has no workers, or one of them does not see `directory` or
        differs from this process in what features depend on.
    GenreflowError
        One job ended several workers, or the scheduler went away.
    """
    directory = directory.absolute()  # the workers were started elsewhere
    with connected(scheduler) as client, _mark(directory) as mark:
        here = _surroundings(mark)
        _check_workers(client, scheduler, mark, here)
        yield from spread(client, partial(_run_job, mark, here, directory, spec, compute=compute), jobs)


@contextmanager
def _mark(directory: Path) -> Iterator[Path]:
    """Keep a file in the folder of the store by which a worker knows that it sees the same one."""
    with temporary_path(directory / "mark") as mark:
        mark.touch()
        yield mark


def _surroundings(mark: Path) -> dict[str, str | bool]:
    """Return what must be the same in all processes for the same features in the same place."""
    return {
        "Python": ".".join(platform.python_version_tuple()[:2]),
        "genreflow": genreflow.__version__,
        "feature code": str(FEATURE_VERSION),
        "numpy": np.__version__,
        "scipy": scipy.__version__,
        "soxr": soxr.__version__,
        "libsndfile": soundfile.__libsndfile_version__,
        "folder": mark.exists() and os.access(mark.parent, os.W_OK),
    }


def _check_workers(client: Any, scheduler: str, mark: Path, here: dict) -> None:
    for worker, there in client.run(_surroundings, mark, on_error="return").items():
        if isinstance(there, Exception):
            raise ParameterError(
                f"The Dask worker {worker} cannot run genreflow ({type(there).__name__}: {there}); "
                f"genreflow {here['genreflow']} must be installed where it runs."
            ) from there
        _check_alike(worker, there, here, mark.parent)


def _check_alike(worker: str, there: dict, here: dict, directory: Path) -> None:
    for name, value in here.items():
        if there.get(name) == value:
            continue
        if name == "folder":
            raise ParameterError(
                f"The Dask worker {worker} cannot write to {directory} of this machine; "
                "all workers must see the project's folder under the same path."
            )
        raise ParameterError(
            f"The Dask worker {worker} has {name} {there.get(name)} and this machine {value}; "
            "features are the same everywhere only if these are."
        )


def _run_job(
    mark: Path,
    here: dict,
    directory: Path,
    spec: FeatureSpec,
    job: Job,
    compute: Callable[[Any], list[np.ndarray]],
) -> JobResult:
    """Do one job on a worker, which may have come after the others were looked at."""
    from distributed import get_worker

    _check_alike(get_worker().address, _surroundings(mark), here, directory)
    return compute_shards(directory, spec, job, compute)
