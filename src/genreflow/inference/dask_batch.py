"""Files of a batch on the workers of a Dask cluster, which see them and the bundle under the same paths."""

import os
from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path

import genreflow
from genreflow.bundle import Bundle
from genreflow.distributed import connected, spread
from genreflow.errors import GenreflowError, ParameterError
from genreflow.features.spec import FEATURE_VERSION
from genreflow.inference.batch import classify_file
from genreflow.inference.predictor import Predictor

# Files in a job: what a killed worker loses, against what a job costs.
JOB_FILES = 8


def iter_on_cluster(scheduler: str, files: Sequence[Path], bundle: Bundle) -> Iterator[dict]:
    """Classify files on a Dask cluster; a job whose worker dies is done again by another.

    Parameters
    ----------
    scheduler : str
        Address of its scheduler, such as ``tcp://host:8786``.
    files : sequence of path
    bundle : Bundle

    Yields
    ------
    dict
        As `genreflow.inference.batch.iter_results` does, in no order.

    Raises
    ------
    ParameterError
        Dask is not installed, no scheduler answers, it has no workers, or one of them does not see this bundle or has
        another version of genreflow.
    GenreflowError
        One job ended several workers, or the scheduler went away.
    """
    directory = bundle.directory.resolve()
    here = (genreflow.__version__, FEATURE_VERSION, bundle.hash)
    with connected(scheduler) as client:
        for worker, there in client.run(_surroundings, directory, on_error="return").items():
            if isinstance(there, Exception):
                raise ParameterError(
                    f"The Dask worker {worker} cannot load {directory} ({type(there).__name__}: {there}); genreflow "
                    f"{here[0]} must be installed where it runs, and the bundle be there under the same path."
                ) from there
            _check_alike(worker, there, here, directory)
        # Names as they were given, and where they are: the workers were started elsewhere.
        named = [(str(file), os.path.abspath(file)) for file in files]
        jobs = (named[begin : begin + JOB_FILES] for begin in range(0, len(named), JOB_FILES))
        for results in spread(client, _Job(directory, here), jobs):
            yield from results


class _Job:
    """Classifies some files on a worker, which may have come after the others were looked at."""

    def __init__(self, directory: Path, here: tuple) -> None:
        self.directory, self.here = directory, here

    def __call__(self, files: list[tuple[str, str]]) -> list[dict]:
        predictor = _predictor(self.directory, self.here)
        return [classify_file(predictor, Path(path)) | {"file": name} for name, path in files]


@lru_cache(maxsize=1)
def _predictor(directory: Path, here: tuple) -> Predictor:
    from distributed import get_worker

    _check_alike(get_worker().address, _surroundings(directory), here, directory)
    return Predictor(directory)


def _surroundings(directory: Path) -> tuple:
    return genreflow.__version__, FEATURE_VERSION, Bundle.load(directory).hash


def _check_alike(worker: str, there: tuple, here: tuple, directory: Path) -> None:
    for name, mine, its in zip(("genreflow", "feature code", f"the bundle {directory}"), here, there, strict=True):
        if mine != its:
            raise GenreflowError(
                f"The Dask worker {worker} has {name} {its} and this machine {mine}; answers are the same everywhere "
                "only if these are."
            )
