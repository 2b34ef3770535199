"""The files of a batch on a Dask cluster whose workers see them and the bundle under the same paths."""

import os
from collections.abc import Iterator, Sequence
from functools import lru_cache, partial
from pathlib import Path

from genreflow.bundle import Bundle
from genreflow.distributed import run_jobs
from genreflow.features.spec import FEATURE_VERSION
from genreflow.inference.batch import classify_file
from genreflow.inference.predictor import Predictor

# Files per job: more of them save overhead, fewer lose less when a worker dies.
FILES_PER_JOB = 8


def iter_results_on_dask(scheduler: str, files: Sequence[Path], bundle: Bundle) -> Iterator[dict]:
    """Classify files on the workers of a Dask cluster; a job whose worker dies runs again on another.

    Parameters
    ----------
    scheduler : str
        Address of the scheduler, such as ``tcp://host:8786``.
    files : sequence of path
    bundle : Bundle

    Yields
    ------
    dict
        As `genreflow.inference.batch.iter_results` does, in the order of completion.

    Raises
    ------
    ParameterError, GenreflowError
        As `genreflow.distributed.run_jobs`: among others, a worker does not see this bundle under the same path.
    """
    directory = bundle.directory.resolve()
    # The names as given, for the results, and the absolute paths: the workers have other working directories.
    named = [(str(file), os.path.abspath(file)) for file in files]
    jobs = (named[begin : begin + FILES_PER_JOB] for begin in range(0, len(named), FILES_PER_JOB))
    run = partial(_classify, directory, bundle.hash)
    expected = _requirements(directory, bundle.hash)
    for results in run_jobs(scheduler, run, jobs, describe=_describe, path=directory, expected=expected):
        yield from results


def _classify(directory: Path, bundle_hash: str, files: list[tuple[str, str]]) -> list[dict]:
    predictor = _predictor(directory, bundle_hash)
    return [classify_file(predictor, Path(path)) | {"file": name} for name, path in files]


@lru_cache(maxsize=1)
def _predictor(directory: Path, bundle_hash: str) -> Predictor:
    """Load the bundle once per process; the hash is there to load one that replaced it."""
    return Predictor(directory)


def _describe(directory: Path) -> dict[str, object]:
    """Return what predictions depend on."""
    return _requirements(directory, Bundle.load(directory).hash)


def _requirements(directory: Path, bundle_hash: str) -> dict[str, object]:
    return {"feature version": FEATURE_VERSION, f"bundle {directory}": bundle_hash}
