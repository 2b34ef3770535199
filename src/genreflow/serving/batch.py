"""Many files to one table, in the order given and in memory that does not grow with their number."""

import os
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

from tqdm import tqdm

from genreflow.audio.readers import AUDIO_SUFFIXES
from genreflow.errors import AudioError, ParameterError
from genreflow.serving.predictor import Predictor
from genreflow.serving.table import open_table

# Files under way or done and waiting for an earlier one, for each worker.
PENDING = 16


@dataclass(frozen=True)
class Summary:
    """Files in all, those with a genre, those the model abstained on, those that failed, and the seconds it took."""

    files: int
    classified: int
    abstained: int
    failed: int
    seconds: float

    def to_dict(self) -> dict:
        return asdict(self)


def find_audio(paths: Iterable[Path | str]) -> list[Path]:
    """List the audio files that `paths` stand for.

    Parameters
    ----------
    paths : iterable of path
        Files are taken as they are; folders are searched with their sub-folders, and sorted. Nothing is listed twice.

    Raises
    ------
    ParameterError
        A path does not exist, or no audio file is found at all.
    """
    paths = [Path(path) for path in paths]
    found: dict[Path, None] = {}
    for path in paths:
        if path.is_dir():
            found |= dict.fromkeys(sorted(_audio_under(path)))
        elif path.exists():
            found[path] = None
        else:
            raise ParameterError(f"{path} does not exist; give audio files or folders of them.")
    if not found:
        names = ", ".join(map(str, paths)) or "nothing"
        raise ParameterError(f"No audio was found in {names}; files such as .wav, .flac, .mp3 or .ogg are looked for.")
    return list(found)


def _audio_under(folder: Path) -> Iterator[Path]:
    seen = set()
    for root, folders, files in os.walk(folder, followlinks=True):
        # A link may lead to a folder above itself.
        real = os.path.realpath(root)
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in files:
            if not name.startswith(".") and os.path.splitext(name)[1].lower() in AUDIO_SUFFIXES:
                yield Path(root, name)


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
    n_jobs = n_jobs or len(os.sched_getaffinity(0))
    if n_jobs < 1:
        raise ParameterError(f"n_jobs is {n_jobs}; it must be at least 1.")
    pending: deque = deque()
    # Threads, not processes: decoding, transforms and the net all release the interpreter's lock.
    pool = ThreadPoolExecutor(n_jobs, thread_name_prefix="classify")
    try:
        for file in files:
            pending.append(pool.submit(_classify, predictor, file))
            if len(pending) >= n_jobs * PENDING:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


def _classify(predictor: Predictor, file: Path) -> dict:
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
    output: Path | None = None,
    n_jobs: int | None = None,
    progress: bool = True,
    show: Callable[[dict], None] | None = None,
) -> Summary:
    """Classify files and write a row for each.

    Parameters
    ----------
    files : iterable of path
    bundle_dir : Path
    output : Path, optional
        A table by its suffix: ``.csv`` and ``.parquet`` have a column for each genre's probability, ``.jsonl`` has
        what the service answers, segments included. It appears when the last row is written.
    n_jobs : int > 0, optional
        Files under way at a time; by default the cores this process may use.
    progress : bool
        A bar on standard error.
    show : callable, optional
        Called with each result in turn, as `iter_results` yields it.

    Returns
    -------
    Summary

    Raises
    ------
    ParameterError
        `output` has another suffix, or is ``.parquet`` without pyarrow.
    GenreflowError
        The bundle cannot be loaded.
    """
    files = list(files)
    begin = time.monotonic()
    counts = {"classified": 0, "abstained": 0, "failed": 0}
    predictor = Predictor(bundle_dir)
    with open_table(output, labels=predictor.bundle.labels) as write:
        results = iter_results(files, predictor, n_jobs=n_jobs)
        for result in tqdm(results, total=len(files), unit="file", disable=not progress):
            outcome = "failed" if "error" in result else "classified" if result["genre"] is not None else "abstained"
            counts[outcome] += 1
            write(result)
            if show:
                show(result)
    return Summary(files=len(files), **counts, seconds=time.monotonic() - begin)
