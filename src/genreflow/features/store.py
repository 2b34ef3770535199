"""The feature store: base log-mel frames of all tracks, in memory-mappable shards that are written once.

    index.json              spec, and where each track lies
    shard-<id>.npy          uint8 (frames, n_mels), tracks one after the other
    shard-<id>.json         the same for this shard alone; a shard counts from the moment this file is there

Shards are named after the tracks in them, so that the same tracks give the same files, and are never edited: new
tracks make new shards, and tracks that left are forgotten by the index. An update that was interrupted finds its
finished shards again.
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
from genreflow.features.spec import FeatureSpec
from genreflow.files import write_text

_INDEX = "index.json"
# Tracks of a job, by the number of new tracks alone, so that the files do not depend on the machine. The fewest take
# about as long as processes take to start, so that a single job is done without any.
_FEWEST_TRACKS, _MOST_TRACKS, _SHARDS_AN_UPDATE = 16, 256, 32
# Decoding, transforms and products leave Python's lock, all but a tenth of the time. So a few threads are as fast as
# processes, and start at once, where each process first imports for 0.6 s of its core.
_MOST_THREADS = 4


@dataclass(frozen=True)
class StoreReport:
    """What an update did.

    Parameters
    ----------
    computed, reused, dropped : int >= 0
        Tracks.
    failed : dict of str to str
        Key and message of each track whose audio cannot be used; it is tried again at the next update.
    """

    computed: int
    reused: int
    dropped: int
    failed: dict[str, str]


class FeatureStore:
    """A feature store, opened for reading.

    Parameters
    ----------
    directory : Path
    spec : FeatureSpec
    tracks : dict of str to (str, list of [int, int])
        Shard and pieces of each track.
    """

    def __init__(self, directory: Path, spec: FeatureSpec, tracks: dict[str, Location]) -> None:
        self.directory = directory
        self.spec = spec
        self._tracks = tracks
        self._open: dict[str, np.ndarray] = {}

    @classmethod
    def open(cls, directory: str | os.PathLike) -> "FeatureStore":
        """Open the store in a directory.

        Raises
        ------
        ParameterError
            There is none, or other feature code has made it.
        """
        directory = Path(directory)
        try:
            index = json.loads((directory / _INDEX).read_text())
            spec = FeatureSpec(**index["spec"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ParameterError(
                f"{directory} holds no complete feature store; compute the features first (`dvc repro featurize`)."
            ) from error
        if spec.key != index["key"]:
            raise ParameterError(
                f"{directory} was made by another version of the feature code; "
                "compute the features again (`dvc repro featurize`)."
            )
        return cls(directory, spec, {key: tuple(place) for key, place in index["tracks"].items()})

    def pieces(self, key: str) -> list[np.ndarray]:
        """Return the pieces of a track, as read-only views of its memory-mapped shard.

        Parameters
        ----------
        key : str

        Returns
        -------
        list of np.ndarray [shape=(frames, n_mels), dtype=uint8]
            Segments never run across pieces.

        Raises
        ------
        KeyError
        """
        name, pieces = self._tracks[key]
        if name not in self._open:
            self._open[name] = np.asarray(np.load(shards.array_path(self.directory, name), mmap_mode="r"))
        return [self._open[name][begin:end] for begin, end in pieces]

    def lengths(self, key: str) -> list[int]:
        """Return the frames of each piece of a track, without opening its shard."""
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
    """Bring a store in line with a list of tracks: compute the new ones, keep the old ones, forget the rest.

    Only one update of a directory may run at a time.

    Parameters
    ----------
    directory : path
        Made where it does not exist. A store of another spec, or of another version of the feature code, is replaced.
    spec : FeatureSpec
    items : iterable of (str, object)
        Key (the hash of the audio) and what `compute` needs; of equal keys the first counts.
    compute : callable
        From the object to a list of uint8 arrays [shape=(frames, n_mels)]; a top-level function or a
        `functools.partial` of one that keeps no state, since it runs in other threads and processes.
    n_jobs : int
        Workers, as joblib counts them: -1 is one a core. Up to four are threads, more are processes.
    scheduler : str or None
        Address of a Dask scheduler, such as ``tcp://host:8786``, on whose workers `compute` runs instead. They see
        this directory, and what `compute` reads, under the same absolute paths. The files are the same ones.
    progress : bool
        Show a progress bar.

    Returns
    -------
    StoreReport
        An `AudioError` of `compute` is recorded there; any other exception ends the update, and what was finished
        is found again by the next.

    Raises
    ------
    ParameterError, GenreflowError
        Of `scheduler`, as `features.dask_jobs.compute_shards_on_dask` does.
    """
    from tqdm import tqdm  # here, since every worker process loads this module

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
        for places, faults in _compute(directory, spec, missing, wanted, compute, n_jobs, scheduler):
            tracks |= places
            failed |= faults
            bar.update(len(places) + len(faults))

    places = {key: tracks[key] for key in sorted(tracks)}
    index = {"key": spec.key, "spec": spec.to_dict(), "tracks": places}
    write_text(directory / _INDEX, json.dumps(index))
    # Only now, so that the store before this update could be read until here.
    shards.remove_unused(directory, {name for name, _ in tracks.values()})
    return StoreReport(
        computed=len(tracks) - reused,
        reused=reused,
        dropped=dropped,
        failed={key: failed[key] for key in sorted(failed)},
    )


def _indexed_keys(directory: Path) -> set[str]:
    try:
        return set(json.loads((directory / _INDEX).read_text())["tracks"])
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
    """Compute the missing tracks, here or on a cluster, in the same jobs, and yield what they report as it comes."""
    if not missing:
        return
    if scheduler:
        from genreflow.features.dask_jobs import compute_shards_on_dask

        doubtful = []
        for places, faults in compute_shards_on_dask(scheduler, directory, spec, _jobs(missing, payloads), compute):
            doubtful += faults
            yield places, {}
        # Whether a track can be used is decided here: a worker may lack ffmpeg, or the disk that the track is on.
        yield from _compute(directory, spec, sorted(doubtful), payloads, compute, n_jobs, None)
        return
    import joblib  # not among what the service installs

    n_jobs = min(joblib.effective_n_jobs(n_jobs), math.ceil(len(missing) / _job_size(len(missing))))
    kind = "threads" if n_jobs <= _MOST_THREADS else "processes"
    parallel = joblib.Parallel(n_jobs=n_jobs, prefer=kind, return_as="generator_unordered")
    yield from parallel(
        joblib.delayed(shards.compute_shards)(directory, spec, job, compute) for job in _jobs(missing, payloads)
    )


def _job_size(n_tracks: int) -> int:
    return min(max(math.ceil(n_tracks / _SHARDS_AN_UPDATE), _FEWEST_TRACKS), _MOST_TRACKS)


def _jobs(keys: list[str], payloads: dict[str, Any]) -> Iterator[Job]:
    size = _job_size(len(keys))
    for begin in range(0, len(keys), size):
        yield [(key, payloads[key]) for key in keys[begin : begin + size]]


def _reuse(
    directory: Path, spec: FeatureSpec, found: list[shards.Shard], wanted: dict[str, Any]
) -> dict[str, Location]:
    """Find the wanted tracks among the shards; rewrite what is left of a shard more than half dead."""
    tracks: dict[str, Location] = {}
    # The fullest first: after an interruption a track may stand in a shard and in its rewritten successor.
    for shard in sorted(found, key=lambda shard: (len(shard.tracks.keys() - wanted.keys()), shard.name)):
        live = {key: pieces for key, pieces in shard.tracks.items() if key in wanted and key not in tracks}
        frames = sum(end - begin for pieces in live.values() for begin, end in pieces)
        if 2 * frames >= shard.frames:
            tracks |= {key: (shard.name, pieces) for key, pieces in live.items()}
            continue
        array = np.load(shards.array_path(directory, shard.name), mmap_mode="r")
        views = ((key, [array[begin:end] for begin, end in pieces]) for key, pieces in live.items())
        tracks |= shards.write_shards(directory, spec, views)
    return tracks
