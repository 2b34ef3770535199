"""Many files to one table, in the order given and in memory that hardly grows with their number."""

import time
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path

from tqdm import tqdm

from genreflow.cores import usable_cores
from genreflow.errors import AudioError, ParameterError
from genreflow.inference.journal import Journal
from genreflow.inference.output import check_table, open_table
from genreflow.inference.predictor import Predictor

# Files under way or done and waiting for an earlier one, for each worker.
PENDING = 16


@dataclass(frozen=True)
class Summary:
    """Files in all, those with a genre, those the model abstained on, those that failed, those that an interrupted call
    had left done, and the seconds it took."""

    files: int
    classified: int
    abstained: int
    failed: int
    resumed: int
    seconds: float

    def to_dict(self) -> dict:
        return asdict(self)


def iter_results(files: Iterable[Path], predictor: Predictor, *, n_jobs: int | None = None) -> Iterator[dict]:
    """Classify files side by side.

    Parameters
    ----------
    files : iterable of path
    predictor : Predictor
    n_jobs : int > 0, optional
        Files under way at a time; by default the cores this process may use.

    Yields
    ------
    dict
        In the order of `files`: ``file`` with either what `Prediction.to_dict` gives or
        ``error = {"code", "message"}``; an unreadable or unusable file never stops the others.
    """
    n_jobs = _check_jobs(n_jobs)
    pending: deque = deque()
    # Threads, not processes: decoding, transforms and the net all release the interpreter's lock.
    pool = ThreadPoolExecutor(n_jobs, thread_name_prefix="classify")
    try:
        for file in files:
            pending.append(pool.submit(classify_file, predictor, file))
            if len(pending) >= n_jobs * PENDING:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


def _check_jobs(n_jobs: int | None) -> int:
    n_jobs = usable_cores() if n_jobs is None else n_jobs
    if n_jobs < 1:
        raise ParameterError(f"n_jobs is {n_jobs}; it must be at least 1.")
    return n_jobs


def classify_file(predictor: Predictor, file: Path) -> dict:
    """The row of one file: ``file`` with what `Prediction.to_dict` gives, or with ``error``."""
    try:
        answer = predictor.classify(file).to_dict(predictor.model)
    except AudioError as error:
        answer = {"error": {"code": error.code, "message": str(error)}}
    except OSError as error:
        answer = {"error": {"code": "unreadable", "message": f"{file} cannot be read: {error.strerror or error}."}}
    return {"file": str(file), **answer}


def classify_files(
    files: Iterable[Path],
    bundle_dir: Path | str,
    *,
    output: Path | str,
    n_jobs: int | None = None,
    scheduler: str | None = None,
    resume: bool = True,
    progress: bool = True,
) -> Summary:
    """Classify files and write a row for each.

    Parameters
    ----------
    files : iterable of path
    bundle_dir : Path
    output : Path
        A table by its suffix: ``.csv`` and ``.parquet`` have a column for each genre's probability, ``.jsonl`` has
        what the service answers, segments included. It appears when all rows are known. Until then a hidden file
        beside it keeps the results, from which the next call with the same output goes on.
    n_jobs : int > 0, optional
        Files under way at a time; by default the cores this process may use.
    scheduler : str, optional
        Address of a Dask scheduler, such as ``tcp://host:8786``, on whose workers the files are classified instead.
        They see bundle and files under the same absolute paths; what one of them cannot read is tried here.
    resume : bool
        Go on where a call that was interrupted stopped; otherwise what it left is dropped.
    progress : bool
        A bar on standard error.

    Returns
    -------
    Summary

    Raises
    ------
    ParameterError
        `output` has another suffix, is ``.parquet`` without pyarrow, or is being written by another process; the
        scheduler is of no use, as `genreflow.inference.dask_batch.iter_results_on_dask` says.
    GenreflowError
        The bundle cannot be loaded.
    """
    files, output = list(files), Path(output)
    begin = time.monotonic()
    check_table(output)
    n_jobs = _check_jobs(n_jobs)
    predictor = Predictor(bundle_dir)
    counts = {"classified": 0, "abstained": 0, "failed": 0}
    unfinished = output.with_name(f".{output.name}.unfinished")
    if not resume:
        unfinished.unlink(missing_ok=True)
    bundle = predictor.bundle
    with Journal(unfinished, f"{bundle.hash} {bundle.name} {bundle.version}") as journal:
        missing = [file for file in dict.fromkeys(files) if file not in journal]
        bar = tqdm(total=len(files), initial=len(files) - len(missing), unit="file", disable=not progress)
        with bar, closing(_results(missing, predictor, n_jobs, scheduler)) as results:
            for result in results:
                journal.add(result)
                bar.update()
        with open_table(output, labels=predictor.bundle.labels) as write:
            for result in journal.results(files):
                counts[outcome(result)] += 1
                write(result)
        journal.remove()
    return Summary(files=len(files), **counts, resumed=len(files) - len(missing), seconds=time.monotonic() - begin)


def outcome(result: dict) -> str:
    """``failed``, ``classified`` or ``abstained``."""
    return "failed" if "error" in result else "classified" if result["genre"] is not None else "abstained"


def _results(files: list[Path], predictor: Predictor, n_jobs: int, scheduler: str | None) -> Iterator[dict]:
    if not scheduler or not files:
        yield from iter_results(files, predictor, n_jobs=n_jobs)
        return
    from genreflow.inference.dask_batch import iter_results_on_dask

    doubtful = []
    for result in iter_results_on_dask(scheduler, files, predictor.bundle):
        # Whether a file can be read is decided here: a worker may lack ffmpeg, or the disk that the file is on.
        if result.get("error", {}).get("code") in ("undecodable", "unreadable"):
            doubtful.append(Path(result["file"]))
        else:
            yield result
    yield from iter_results(doubtful, predictor, n_jobs=n_jobs)
