"""Classification of many files: results in the order of the files, and memory that hardly depends on their number."""

import logging
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tqdm import tqdm

from genreflow.cores import usable_cores
from genreflow.errors import AudioError, ParameterError, counted
from genreflow.inference.journal import Journal
from genreflow.inference.output import check_output, open_output
from genreflow.inference.predictor import Predictor

logger = logging.getLogger(__name__)

# Files per worker that are in progress, or done and waiting for a previous one.
PENDING_PER_WORKER = 16

Results = Generator[dict[str, Any], None, None]
# Is called with each result of a batch.
Each = Callable[[dict[str, Any]], None] | None


@dataclass(frozen=True)
class Summary:
    """Outcome of a batch.

    Parameters
    ----------
    files : int >= 0
        All files: ``classified + abstained + failed``.
    classified : int >= 0
        Files with a genre.
    abstained : int >= 0
        Files for which the classifier abstained.
    failed : int >= 0
        Files that could not be classified.
    resumed : int >= 0
        Files whose results are those of an interrupted batch.
    seconds : float >= 0 [s]
    """

    files: int
    classified: int
    abstained: int
    failed: int
    resumed: int
    seconds: float

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def classify_files(
    files: Iterable[Path],
    bundle_dir: Path | str,
    *,
    output: Path | str,
    n_jobs: int | None = None,
    scheduler: str | None = None,
    resume: bool = True,
    progress: bool = True,
    each: Each = None,
) -> Summary:
    """Classify files and write a table with one row per file.

    Parameters
    ----------
    files : iterable of path
    bundle_dir : Path
    output : Path
        Its suffix selects the format: ``.csv`` and ``.parquet`` have a column for the probability of each genre,
        ``.jsonl`` has the responses of the service, with segments. It is written when all results are there; until then
        they are kept in a hidden journal beside it.
    n_jobs : int > 0, optional
        Number of files that are classified concurrently; by default the number of usable cores.
    scheduler : str, optional
        Address of a Dask scheduler, such as ``tcp://host:8786``, on whose workers the files are classified instead.
        They must see bundle and files under the same absolute paths. A file that a worker cannot read is tried again on
        this machine.
    resume : bool
        Use the results that an interrupted call with the same output left in its journal; otherwise delete them.
    progress : bool
        Show a progress bar on standard error.
    each : callable, optional
        Called with each result, as `iter_results` yields them, when all are there.

    Returns
    -------
    Summary

    Raises
    ------
    ParameterError
        `n_jobs` is less than 1, `output` has an unknown suffix or is in use by another process, or ``.parquet`` and
        pyarrow is not installed.
    GenreflowError
        The bundle cannot be loaded, or, with `scheduler`, as `genreflow.distributed.run_jobs`.
    """
    files, output = list(files), Path(output)
    begin = time.monotonic()
    check_output(output)
    n_jobs = _check_n_jobs(n_jobs)
    predictor = Predictor(bundle_dir)
    counts = {"classified": 0, "abstained": 0, "failed": 0}
    journal_path = unfinished_path(output)
    if not resume:
        journal_path.unlink(missing_ok=True)
    bundle = predictor.bundle
    with Journal(journal_path, f"{bundle.hash} {bundle.name} {bundle.version}") as journal:
        missing = [file for file in dict.fromkeys(files) if file not in journal]
        bar = tqdm(total=len(files), initial=len(files) - len(missing), unit="file", disable=not progress)
        try:
            with bar, closing(_results(missing, predictor, n_jobs, scheduler)) as results:
                for result in results:
                    journal.add(result)
                    bar.update()
        except KeyboardInterrupt:
            rows = int(bar.n)
            logger.warning(
                "interrupted: the rows of %d of %s are kept in %s; the same command continues",
                rows, counted(len(files), "file"), journal_path,
            )  # fmt: skip
            raise
        with open_output(output, labels=bundle.labels) as write:
            for result in journal.results(files):
                counts[outcome(result)] += 1
                write(result)
                if each is not None:
                    each(result)
        journal.remove()
    return Summary(files=len(files), **counts, resumed=len(files) - len(missing), seconds=time.monotonic() - begin)


def unfinished_path(output: Path) -> Path:
    """Return where the results for `output` are kept until all of them are there."""
    return output.with_name(f".{output.name}.unfinished")


def iter_results(files: Iterable[Path], predictor: Predictor, *, n_jobs: int | None = None) -> Results:
    """Classify files concurrently.

    Parameters
    ----------
    files : iterable of path
    predictor : Predictor
    n_jobs : int > 0, optional
        Number of files that are classified concurrently; by default the number of usable cores.

    Yields
    ------
    dict
        As `classify_file`, in the order of `files`.

    Raises
    ------
    ParameterError
        `n_jobs` is less than 1.
    """
    n_jobs = _check_n_jobs(n_jobs)
    pending: deque[Future[dict[str, Any]]] = deque()
    # Threads, not processes: decoding, FFTs and the model release the GIL.
    pool = ThreadPoolExecutor(n_jobs, thread_name_prefix="classify")
    try:
        for file in files:
            pending.append(pool.submit(classify_file, predictor, file))
            if len(pending) >= n_jobs * PENDING_PER_WORKER:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
    except BaseException:
        # A thread that decodes a long file cannot be interrupted: it ends with its file, or with the process.
        pool.shutdown(wait=False, cancel_futures=True)
        raise
    pool.shutdown()


def classify_file(predictor: Predictor, file: Path) -> dict[str, Any]:
    """Classify one file.

    Parameters
    ----------
    predictor : Predictor
    file : Path

    Returns
    -------
    dict
        ``file``, and either what `Prediction.to_dict` returns or ``error = {"code", "message"}``. The code is that of
        an `AudioError`, or ``unreadable``.
    """
    try:
        result = predictor.classify(file).to_dict(predictor.model)
    except AudioError as error:
        result = {"error": {"code": error.code, "message": str(error)}}
    except OSError as error:
        message = f"{file}: must be readable; got {error.strerror or error}."
        result = {"error": {"code": "unreadable", "message": message}}
    return {"file": str(file), **result}


def outcome(result: dict[str, Any]) -> str:
    """Return ``failed``, ``classified`` or ``abstained``."""
    if "error" in result:
        return "failed"
    return "classified" if result["genre"] is not None else "abstained"


def _check_n_jobs(n_jobs: int | None) -> int:
    n_jobs = usable_cores() if n_jobs is None else n_jobs
    if n_jobs < 1:
        raise ParameterError(f"n_jobs must be >= 1; got {n_jobs}.")
    return n_jobs


def _results(files: list[Path], predictor: Predictor, n_jobs: int, scheduler: str | None) -> Results:
    if not scheduler or not files:
        yield from iter_results(files, predictor, n_jobs=n_jobs)
        return
    from genreflow.inference.dask_batch import iter_results_on_dask

    failed = []
    for result in iter_results_on_dask(scheduler, files, predictor.bundle):
        # Try again here: the worker may lack access to the file.
        if result.get("error", {}).get("code") in ("undecodable", "unreadable"):
            failed.append(Path(result["file"]))
        else:
            yield result
    yield from iter_results(failed, predictor, n_jobs=n_jobs)
