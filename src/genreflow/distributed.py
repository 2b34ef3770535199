"""Jobs on a Dask cluster: connect to its scheduler, check its workers, spread the jobs, gather their results."""

import platform
import socket
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Generic, TypeVar

import genreflow
from genreflow.errors import GenreflowError, ParameterError

if TYPE_CHECKING:
    from distributed import Client

J = TypeVar("J")
R = TypeVar("R")
Describe = Callable[[Path], Mapping[str, object]]

_CONNECT_SECONDS = 10
# Jobs submitted for each thread of the cluster: while it runs one, the next is there. It also bounds the results that
# wait in this process.
_JOBS_PER_THREAD = 2


def run_jobs(
    scheduler: str,
    run: Callable[[J], R],
    jobs: Iterable[J],
    *,
    describe: Describe,
    path: Path,
    expected: Mapping[str, object],
) -> Iterator[R]:
    """Run jobs on the workers of a Dask cluster, a bounded number at a time.

    When a worker dies, its jobs run again on another. When the iterator is closed, pending jobs are cancelled.

    Parameters
    ----------
    scheduler : str
        Address of the scheduler, such as ``tcp://host:8786``.
    run : callable
        From a job to its result. It is pickled, as jobs and results are.
    jobs : iterable
    describe : callable
        A top-level function that returns, on a worker, what results depend on: values by their names.
    path : Path
        Argument of `describe`: absolute path of the file or directory that the workers must see.
    expected : mapping of str to object
        What `describe` must return there. The versions of Python and genreflow are compared as well.

    Yields
    ------
    object
        Results, in the order of completion.

    Raises
    ------
    ParameterError
        Dask is not installed, the scheduler does not answer or has no workers, or a worker cannot import genreflow or
        differs from what is expected.
    GenreflowError
        A job killed several workers, or the connection to the scheduler was lost.
    """
    expected = {**_versions(), **expected}
    with _connect(scheduler) as client:
        _check_workers(client, describe, path, expected)
        yield from _map_unordered(client, _CheckedJob(run, describe, path, tuple(expected.items())), jobs)


@contextmanager
def _connect(scheduler: str) -> Iterator["Client"]:
    """Connect to a scheduler that has workers, and translate Dask's exceptions in the block."""
    try:
        from distributed import CancelledError, Client, KilledWorker
    except ImportError as error:
        raise ParameterError(
            f"Dask scheduler {scheduler}: Dask must be installed; run `pip install genreflow[dask]` here and where the "
            "workers run."
        ) from error
    try:
        _wait_for_port(scheduler)
        client = Client(scheduler, timeout=_CONNECT_SECONDS, set_as_default=False)
    except (OSError, ValueError) as error:
        raise ParameterError(
            f"Dask scheduler {scheduler}: must be the address of a running scheduler, such as tcp://host:8786; got no "
            "answer. Without a scheduler, this machine computes."
        ) from error
    with client:
        try:
            try:
                client.wait_for_workers(1, timeout=_CONNECT_SECONDS)
            except TimeoutError as error:
                raise ParameterError(
                    f"Dask scheduler {scheduler}: must have at least one worker; got none. "
                    f"`dask worker {scheduler}` starts one."
                ) from error
            yield client
        except KilledWorker as error:
            raise GenreflowError(
                f"Dask worker {error.last_worker.address}: was killed, the last of {error.allowed_failures + 1} by the "
                "same job; see its log. The most common cause is too little memory."
            ) from error
        except (CancelledError, OSError) as error:
            if client.status == "running":
                raise  # not the connection, but for example a full disk of a worker
            raise GenreflowError(
                f"Dask scheduler {scheduler}: the connection was lost; run the command again, finished jobs are reused."
            ) from error


def _wait_for_port(scheduler: str) -> None:
    """Wait until the port of a scheduler accepts connections.

    A `Client` that fails to connect leaves the thread of its event loop behind. Its garbage collection then blocks any
    thread for seconds, such as that of the next client.

    Raises
    ------
    OSError, ValueError
        It does not within `_CONNECT_SECONDS`, or `scheduler` is no address.
    """
    from distributed.comm import get_address_host_port, normalize_address

    address = get_address_host_port(normalize_address(scheduler), strict=True)
    end = time.monotonic() + _CONNECT_SECONDS
    while True:
        try:
            socket.create_connection(address, timeout=_CONNECT_SECONDS).close()
            return
        except OSError:
            if time.monotonic() > end:
                raise
            time.sleep(0.1)


def _versions() -> dict[str, object]:
    return {"Python": ".".join(platform.python_version_tuple()[:2]), "genreflow": genreflow.__version__}


def _describe_worker(describe: Describe, path: Path) -> dict[str, object]:
    return {**_versions(), **describe(path)}


def _check_workers(client: "Client", describe: Describe, path: Path, expected: Mapping[str, object]) -> None:
    for address, found in client.run(_describe_worker, describe, path, on_error="return").items():
        if isinstance(found, Exception):
            raise ParameterError(
                f"Dask worker {address}: genreflow {genreflow.__version__} must be installed and {path} be readable "
                f"under the same path; got {type(found).__name__}: {found}"
            ) from found
        _check_equal(address, found, expected)


def _check_equal(address: str, found: Mapping[str, object], expected: Mapping[str, object]) -> None:
    for name, value in expected.items():
        if found.get(name) != value:
            raise ParameterError(
                f"Dask worker {address}: {name} must be {value}, as on this machine; got {found.get(name)}."
            )


@dataclass(frozen=True)
class _CheckedJob(Generic[J, R]):
    """Runs jobs on a worker, and checks it first: it may have joined after the others were checked."""

    run: Callable[[J], R]
    describe: Describe
    path: Path
    expected: tuple[tuple[str, object], ...]

    def __call__(self, job: J) -> R:
        _check_this_worker(self.describe, self.path, self.expected)
        return self.run(job)


@lru_cache(maxsize=1)
def _check_this_worker(describe: Describe, path: Path, expected: tuple[tuple[str, object], ...]) -> None:
    from distributed import get_worker

    _check_equal(get_worker().address, _describe_worker(describe, path), dict(expected))


def _map_unordered(client: "Client", run: Callable[[J], R], jobs: Iterable[J]) -> Iterator[R]:
    from distributed import as_completed

    results = as_completed(loop=client.loop)
    for job in jobs:
        while results.count() >= _JOBS_PER_THREAD * max(1, sum(client.nthreads().values())):
            yield next(results).result()
        results.add(client.submit(run, job, pure=False))
    for future in results:
        yield future.result()
