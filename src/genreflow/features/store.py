"""The feature store: base log-mel frames of all tracks, in memory-mapped shards that are written once.

    index.json              spec, and the location of each track
    shard-<id>.npy          uint8 (frames, n_mels), the frames of several tracks
    shard-<id>.json         the locations of these tracks; it is written last, and a shard without it is invalid

A shard is named after a hash of its tracks, so that the same tracks give the same files, and is never edited. New
tracks go to new shards, and removed tracks disappear from the index. An update after an interrupted one reuses its
finished shards.
"""

import json
import math
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from genreflow.errors import ParameterError
from genreflow.features import shards
from genreflow.features.shards import Job, JobResult, Location
from genreflow.features.spec import FEATURE_VERSION, FeatureSpec
from genreflow.files import read_json, write_text

_INDEX = "index.json"
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
        Numbers of tracks.
    failed : dict of str to str
        Messages of the tracks whose audio is unusable, by key; the next update tries them again.
    """

    computed: int
    reused: int
    dropped: int
    failed: dict[str, str]


class FeatureStore:
    """A feature store, open for reading.

    Parameters
    ----------
    directory : Path
    spec : FeatureSpec
    tracks : dict of str to (str, list of [int, int])
        Name of the shard and ranges of frames of each track, by its key.
    """

    def __init__(self, directory: Path, spec: FeatureSpec, tracks: dict[str, Location]) -> None:
        self.directory = directory
        self.spec = spec
        self._tracks = tracks
        self._open: dict[str, np.ndarray] = {}

    @classmethod
    def open(cls, directory: str | os.PathLike) -> "FeatureStore":
        """Open the store in a directory.

        Parameters
        ----------
        directory : path

        Returns
        -------
        FeatureStore

        Raises
        ------
        ParameterError
            `directory` holds no complete store, or another version of the feature code wrote it.
        """
        directory = Path(directory)
        path = directory / _INDEX
        try:
            index = read_json(path)
            spec, key, tracks = FeatureSpec(**index["spec"]), index["key"], index["tracks"]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ParameterError(
                f"{path}: must be the index of a complete feature store; got {type(error).__name__}. "
                "`dvc repro featurize` computes the features."
            ) from error
        if spec.key != key:
            raise ParameterError(
                f"{path}: key must be {spec.key}, that of feature version {FEATURE_VERSION}; got {key}. "
                "`dvc repro featurize` computes the features again."
            )
        return cls(directory, spec, {key: tuple(location) for key, location in tracks.items()})

    def pieces(self, key: str) -> list[np.ndarray]:
        """Return the pieces of a track, as read-only views of a memory-mapped shard.

        Parameters
        ----------
        key : str

        Returns
        -------
        list of np.ndarray [shape=(frames, n_mels), dtype=uint8]
            No segment spans two pieces.

        Raises
        ------
        KeyError
            The store has no such track.
        """
        name, ranges = self._tracks[key]
        if name not in self._open:
            self._open[name] = np.asarray(np.load(shards.array_path(self.directory, name), mmap_mode="r"))
        return [self._open[name][begin:end] for begin, end in ranges]

    def lengths(self, key: str) -> list[int]:
        """Return the number of frames of each piece of a track, without opening its shard."""
        return [end - begin for begin, end in self._tracks[key][1]]

    def __len__(self) -> int:
        return len(self._tracks)

    def __contains__(self, key: str) -> bool:
        return key in self._tracks

    def __iter__(self) -> Iterator[str]:
        return iter(self._tracks)


def update(
    directory: str | os.PathLike,
    spec: FeatureSpec,
    items: Iterable[tuple[str, Any]],
    compute: Callable[[Any], list[np.ndarray]],
    *,
    n_jobs: int = -1,
    scheduler: str | None = None,
    progress: bool = True,
) -> StoreReport:
    """Make a store hold exactly the given tracks: compute the new ones, reuse those it has, and drop all others.

    Only one update of a directory may run at a time.

    Parameters
    ----------
    directory : path
        Created if it does not exist. A store of another spec or feature version is replaced.
    spec : FeatureSpec
    items : iterable of (str, object)
        Key of each track (the hash of its audio) and the argument of `compute`. Of equal keys, the first is used.
    compute : callable
        Returns the features of a track, a list of uint8 arrays [shape=(frames, n_mels)]. It runs in other threads and
        processes: a top-level function, or a `functools.partial` of one, that keeps no state.
    n_jobs : int
        Number of workers, as in joblib: -1 is one per core. Up to four are threads, more are processes.
    scheduler : str, optional
        Address of a Dask scheduler, such as ``tcp://host:8786``, on whose workers `compute` runs instead. They must see
        this directory, and what `compute` reads, under the same absolute paths. They write the same files.
    progress : bool
        Show a progress bar.

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
    dropped = len(_indexed_keys(directory) - wanted.keys())
    tracks = _reuse(directory, spec, shards.read_shards(directory, spec), wanted)
    reused = len(tracks)

    missing = sorted(wanted.keys() - tracks.keys())
    failed: dict[str, str] = {}
    with tqdm(total=len(missing), desc="features", unit="track", disable=not progress) as bar:
        for locations, messages in _compute(directory, spec, missing, wanted, compute, n_jobs, scheduler):
            tracks |= locations
            failed |= messages
            bar.update(len(locations) + len(messages))

    index = {"key": spec.key, "spec": spec.to_dict(), "tracks": {key: tracks[key] for key in sorted(tracks)}}
    write_text(directory / _INDEX, json.dumps(index))
    # Last, so that the previous store can be read until here.
    shards.remove_unused(directory, {name for name, _ in tracks.values()})
    return StoreReport(
        computed=len(tracks) - reused,
        reused=reused,
        dropped=dropped,
        failed={key: failed[key] for key in sorted(failed)},
    )


def _indexed_keys(directory: Path) -> set[str]:
    try:
        return set(read_json(directory / _INDEX)["tracks"])
    except (OSError, ValueError, KeyError):
        return set()


def _compute(
    directory: Path,
    spec: FeatureSpec,
    missing: list[str],
    payloads: dict[str, Any],
    compute: Callable[[Any], list[np.ndarray]],
    n_jobs: int,
    scheduler: str | None,
) -> Iterator[JobResult]:
    """Compute the missing tracks, here or on a Dask cluster in the same jobs, and yield results as they complete."""
    if not missing:
        return
    if scheduler:
        from genreflow.features.dask_jobs import compute_shards_on_dask

        failed: list[str] = []
        for locations, messages in compute_shards_on_dask(
            scheduler, directory, spec, _jobs(missing, payloads), compute
        ):
            failed += messages
            yield locations, {}
        # Try those again on this machine: a worker may lack access to the file.
        yield from _compute(directory, spec, sorted(failed), payloads, compute, n_jobs, None)
        return
    import joblib  # not at the top: the service does not install it

    n_jobs = min(joblib.effective_n_jobs(n_jobs), math.ceil(len(missing) / _job_size(len(missing))))
    prefer = "threads" if n_jobs <= _MAX_THREADS else "processes"
    parallel = joblib.Parallel(n_jobs=n_jobs, prefer=prefer, return_as="generator_unordered")
    yield from parallel(
        joblib.delayed(shards.compute_shards)(directory, spec, job, compute) for job in _jobs(missing, payloads)
    )


def _job_size(n_tracks: int) -> int:
    return min(max(math.ceil(n_tracks / _JOBS_PER_UPDATE), _MIN_JOB_TRACKS), _MAX_JOB_TRACKS)


def _jobs(keys: list[str], payloads: dict[str, Any]) -> Iterator[Job]:
    size = _job_size(len(keys))
    for begin in range(0, len(keys), size):
        yield [(key, payloads[key]) for key in keys[begin : begin + size]]


def _reuse(
    directory: Path, spec: FeatureSpec, found: list[shards.Shard], wanted: dict[str, Any]
) -> dict[str, Location]:
    """Return the locations of the wanted tracks that are in a shard; rewrite shards of which less than half is used."""
    tracks: dict[str, Location] = {}
    # Shards with the fewest unused tracks first: after an interruption, a track may be in a shard and in its rewrite.
    for shard in sorted(found, key=lambda shard: (len(shard.tracks.keys() - wanted.keys()), shard.name)):
        used = {key: ranges for key, ranges in shard.tracks.items() if key in wanted and key not in tracks}
        frames = sum(end - begin for ranges in used.values() for begin, end in ranges)
        if 2 * frames >= shard.frames:
            tracks |= {key: (shard.name, ranges) for key, ranges in used.items()}
            continue
        array = np.load(shards.array_path(directory, shard.name), mmap_mode="r")
        views = ((key, [array[begin:end] for begin, end in ranges]) for key, ranges in used.items())
        tracks |= shards.write_shards(directory, spec, views)
    return tracks
