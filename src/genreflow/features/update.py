"""Update a feature store: compute the features of new tracks, and use again what there is."""

import math
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from genreflow.constraints import DAMAGED
from genreflow.features import shards
from genreflow.features.index import INDEX, Index, NoChecksumError, OtherVersionError
from genreflow.features.kept import KeptStates
from genreflow.features.reuse import Layout, UsableShards, reuse
from genreflow.features.shards import Job, JobResult
from genreflow.features.spec import RowSpec

# Tracks per job depend on the number of new tracks alone, so that the files do not depend on the machine.
# The minimum takes about as long as starting a process; a single job runs in this one.
_MIN_JOB_TRACKS, _MAX_JOB_TRACKS, _JOBS_PER_UPDATE = 16, 256, 32
# Decoding, FFTs and matrix products release the GIL, 90 % of the time. So a few threads are as fast as processes, and
# start at once, while each process first spends 0.6 s on imports.
_MAX_THREADS = 4


@dataclass(frozen=True)
class StoreReport:
    """Result of an update.

    Parameters
    ----------
    computed, reused, dropped : int >= 0
        Numbers of tracks; those that come from a former state of the store are reused.
    kept : int >= 0
        Number of features of other collections and specs that are kept.
    damaged : tuple of str
        Names of shards, or of the index, that were damaged and are made anew.
    failed : dict of str to str
        Messages of the tracks whose audio is unusable, by key; the next update tries them again.
    """

    computed: int
    reused: int
    dropped: int
    kept: int
    damaged: tuple[str, ...]
    failed: dict[str, str]


def update(
    directory: str | os.PathLike,
    spec: RowSpec,
    items: Iterable[tuple[str, Any]],
    compute: Callable[[Any], list[np.ndarray]],
    *,
    n_jobs: int = -1,
    scheduler: str | None = None,
    kept: KeptStates | None = None,
    progress: bool = True,
    description: str = "features",
) -> StoreReport:
    """Make a store hold exactly the given tracks: compute the new ones, reuse those it has, and drop all others.

    Shards that are reused are verified; the tracks of a damaged one are computed again.

    Only one update of a directory may run at a time.

    Parameters
    ----------
    directory : path
        Created if it does not exist. A store of another spec or feature version is replaced.
    spec : FeatureSpec or another RowSpec
    items : iterable of (str, object)
        Key of each track (the hash of its audio) and the argument of `compute`. Of equal keys, the first is used.
    compute : callable
        Returns the features of a track, a list of arrays [shape=(frames, row_size), dtype=row_type]. It runs in other
        threads and processes: a top-level function, or a `functools.partial` of one, that keeps no state.
    n_jobs : int
        Number of workers, as in joblib: -1 is one per core. Up to four are threads, more are processes.
    scheduler : str, optional
        Address of a Dask scheduler, such as ``tcp://host:8786``, on whose workers `compute` runs instead. They must see
        this directory, and what `compute` reads, under the same absolute paths. They write the same files.
    kept : KeptStates, optional
        Former states of this store, from which features are taken, and to which its present state is added if this
        update removes something of it.
    progress : bool
        Show a progress bar.
    description : str
        Beside the progress bar.

    Returns
    -------
    StoreReport
        An `AudioError` of `compute` is reported there. Any other exception ends the update; the next one reuses the
        finished shards.

    Raises
    ------
    ParameterError, GenreflowError
        With `scheduler`, as `genreflow.distributed.run_jobs`.
    """
    from tqdm import tqdm  # not at the top: every worker process imports this module

    directory = Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    wanted: dict[str, Any] = {}
    for key, payload in items:
        wanted.setdefault(key, payload)
    damaged: set[str] = set()
    former, states = _read_index(directory, type(spec), damaged), kept.read() if kept else []
    usable = UsableShards(directory, spec, [path for path, _ in states])
    current = Layout(directory, spec)
    lost = reuse(
        current, usable, wanted, [index for index in (former, *(i for _, i in states)) if index and index.spec == spec]
    )
    reused = len(current.tracks)

    missing = wanted.keys() - current.tracks.keys()
    new = sorted(missing.difference(*lost))
    jobs = [*([(key, wanted[key]) for key in keys] for keys in lost), *_jobs(new, wanted)]
    failed: dict[str, str] = {}
    with tqdm(total=len(missing), desc=description, unit="track", disable=not progress) as bar:
        for written, messages in _compute(directory, spec, jobs, compute, n_jobs, scheduler):
            for shard in written:
                current.add(shard, shard.tracks)
            failed |= messages
            bar.update(sum(len(shard.tracks) for shard in written) + len(messages))

    index = current.index
    if kept and former and not _holds(index, former):
        kept.keep(directory, former.without(usable.damaged - index.hashes.keys()))
    index.save(directory)
    # Last, so that the previous store can be read until here.
    shards.remove_unused(directory, index.hashes)
    if kept:
        kept.prune(directory, index)
    return StoreReport(
        computed=len(index.tracks) - reused,
        reused=reused,
        dropped=len(former.tracks.keys() - wanted.keys()) if former else 0,
        kept=kept.count(index) if kept else 0,
        damaged=tuple(sorted({f"shard-{name}" for name in usable.damaged} | damaged)),
        failed={key: failed[key] for key in sorted(failed)},
    )


def _read_index(directory: Path, spec_type: type[RowSpec], damaged: set[str]) -> Index | None:
    """Return the index of a store; None if it has none that can be used. Its name is added to `damaged` if it is."""
    try:
        return Index.load(directory, spec_type)
    except (FileNotFoundError, NoChecksumError, OtherVersionError):
        return None
    except DAMAGED:
        damaged.add(INDEX)
        return None


def _holds(index: Index, former: Index) -> bool:
    """Return whether a store has all tracks and shards of a former state."""
    return (
        index.spec == former.spec
        and former.tracks.keys() <= index.tracks.keys()
        and former.hashes.keys() <= index.hashes.keys()
    )


def _compute(
    directory: Path,
    spec: RowSpec,
    jobs: list[Job],
    compute: Callable[[Any], list[np.ndarray]],
    n_jobs: int,
    scheduler: str | None,
) -> Iterator[JobResult]:
    """Compute the tracks of jobs, here or on a Dask cluster, and yield results as they complete."""
    if not jobs:
        return
    if scheduler:
        from genreflow.features.dask_jobs import compute_shards_on_dask

        failed: list[str] = []
        for written, messages in compute_shards_on_dask(scheduler, directory, spec, iter(jobs), compute):
            failed += messages
            yield written, {}
        # Try those again on this machine: a worker may lack access to the file.
        again = _jobs(sorted(failed), {key: payload for job in jobs for key, payload in job})
        yield from _compute(directory, spec, again, compute, n_jobs, None)
        return
    import joblib  # not at the top: the service does not install it

    n_jobs = min(joblib.effective_n_jobs(n_jobs), len(jobs))
    prefer = "threads" if n_jobs <= _MAX_THREADS else "processes"
    parallel = joblib.Parallel(n_jobs=n_jobs, prefer=prefer, return_as="generator_unordered")
    yield from parallel(joblib.delayed(shards.compute_shards)(directory, spec, job, compute) for job in jobs)


def _job_size(n_tracks: int) -> int:
    return min(max(math.ceil(n_tracks / _JOBS_PER_UPDATE), _MIN_JOB_TRACKS), _MAX_JOB_TRACKS)


def _jobs(keys: list[str], payloads: dict[str, Any]) -> list[Job]:
    size = _job_size(len(keys))
    return [[(key, payloads[key]) for key in keys[begin : begin + size]] for begin in range(0, len(keys), size)]
