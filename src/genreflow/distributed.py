"""Work on a Dask cluster: connect to its scheduler, spread jobs over its workers, gather what they return."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from genreflow.errors import GenreflowError, ParameterError

_CONNECT_SECONDS = 10
# Jobs sent for each thread of the cluster, so that none waits for its next one; what is held here is bounded by them.
_JOBS_A_THREAD = 2


@contextmanager
def connected(scheduler: str) -> Iterator[Any]:
    """Connect to a scheduler with workers; the block's client is closed behind it.

    Raises
    ------
    ParameterError
        Dask is not installed, no scheduler answers, or it has no workers.
    GenreflowError
        In the block, one job ended several workers, or the scheduler went away.
    """
    try:
        from distributed import CancelledError, Client, KilledWorker
    except ImportError as error:
        raise ParameterError(
            f"The Dask scheduler {scheduler} is named, but Dask is not installed; "
            "`pip install genreflow[dask]` here and where its workers run adds it."
        ) from error
    try:
        client = Client(scheduler, timeout=_CONNECT_SECONDS, set_as_default=False)
    except (OSError, ValueError) as error:
        raise ParameterError(
            f"No Dask scheduler answers at {scheduler}; the address that `dask scheduler` prints, such as "
            "tcp://host:8786, is right, and none computes on this machine."
        ) from error
    with client:
        try:
            try:
                client.wait_for_workers(1, timeout=_CONNECT_SECONDS)
            except TimeoutError as error:
                raise ParameterError(
                    f"The Dask scheduler at {scheduler} has no workers; `dask worker {scheduler}` starts one."
                ) from error
            yield client
        except KilledWorker as error:
            raise GenreflowError(
                f"One job ended {error.allowed_failures + 1} Dask workers, the last of them "
                f"{error.last_worker.address}; its log may say why, too little memory being the commonest reason."
            ) from error
        except (CancelledError, OSError) as error:
            if client.status == "running":
                raise  # not the scheduler: a worker's disk is full, say
            raise GenreflowError(
                f"The Dask scheduler at {scheduler} went away; another run finds what was finished."
            ) from error


def spread(client: Any, run: Callable[[Any], Any], jobs: Iterable[Any]) -> Iterator[Any]:
    """Run jobs on the workers of a client, a bounded number at a time, and yield what they return as it comes."""
    from distributed import as_completed

    results = as_completed(loop=client.loop)
    for job in jobs:
        while results.count() >= _JOBS_A_THREAD * max(1, sum(client.nthreads().values())):
            yield next(results).result()
        results.add(client.submit(run, job, pure=False))
    for future in results:
        yield future.result()
