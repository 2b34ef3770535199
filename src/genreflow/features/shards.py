"""The shards of a feature store: written under temporary names, valid once both files are renamed, never edited."""

import hashlib
import json
import os
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from genreflow.errors import AudioError
from genreflow.features.spec import FeatureSpec
from genreflow.files import remove_leftovers, temporary_path, write_text

Ranges = list[list[int]]  # [first frame, end) of each piece of a track in its shard
Location = tuple[str, Ranges]  # name of the shard, and the ranges of a track in it
Job = list[tuple[str, Any]]  # key of each track, and what its features are computed from
JobResult = tuple[dict[str, Location], dict[str, str]]  # by key: locations of the tracks, messages of those that failed

SHARD_BYTES = 64 * 2**20


@dataclass(frozen=True)
class Shard:
    """A valid shard.

    Parameters
    ----------
    name : str
    frames : int > 0
        Frames of all its tracks.
    tracks : dict of str to list of [int, int]
        Ranges of frames, by the key of the track.
    """

    name: str
    frames: int
    tracks: dict[str, Ranges]


def array_path(directory: Path, name: str) -> Path:
    """Return the path of a shard's frames."""
    return directory / f"shard-{name}.npy"


def _sidecar_path(directory: Path, name: str) -> Path:
    return directory / f"shard-{name}.json"


def read_shards(directory: Path, spec: FeatureSpec) -> list[Shard]:
    """Return the valid shards of a spec, sorted by name."""
    found = []
    for sidecar in sorted(directory.glob("shard-*.json")):
        try:
            content = json.loads(sidecar.read_text())
            name = sidecar.stem.removeprefix("shard-")
            if content["key"] == spec.key and content["bytes"] == array_path(directory, name).stat().st_size:
                found.append(Shard(name, content["frames"], content["tracks"]))
        except (OSError, ValueError, KeyError):
            continue  # invalid: `remove_unused` removes it at the end of the update
    return found


def remove_unused(directory: Path, names: Collection[str]) -> None:
    """Remove all shards but those in `names`, and the temporary files of killed processes."""
    # The sidecars first: an array without its sidecar is no valid shard.
    for pattern in ("shard-*.json", "shard-*.npy"):
        for path in directory.glob(pattern):
            if path.stem.removeprefix("shard-") not in names:
                path.unlink(missing_ok=True)
    remove_leftovers(directory)


def compute_shards(
    directory: Path, spec: FeatureSpec, job: Job, compute: Callable[[Any], list[np.ndarray]]
) -> JobResult:
    """Compute the features of the tracks of one job and write them; an `AudioError` of a track becomes its message."""
    failed: dict[str, str] = {}

    def computed() -> Iterator[tuple[str, list[np.ndarray]]]:
        for key, payload in job:
            try:
                yield key, compute(payload)
            except AudioError as error:
                failed[key] = str(error)

    return write_shards(directory, spec, computed()), failed


def write_shards(
    directory: Path, spec: FeatureSpec, tracks: Iterable[tuple[str, list[np.ndarray]]]
) -> dict[str, Location]:
    """Write tracks to shards of about `SHARD_BYTES`, one track in memory at a time.

    Parameters
    ----------
    directory : Path
    spec : FeatureSpec
    tracks : iterable of (str, list of np.ndarray [shape=(frames, n_mels), dtype=uint8])

    Returns
    -------
    dict of str to (str, list of [int, int])
        Shard and ranges of frames, by the key of the track.
    """
    locations: dict[str, Location] = {}
    remaining = iter(tracks)
    for track in remaining:
        locations |= _write_shard(directory, spec, chain([track], remaining))
    return locations


def _write_shard(
    directory: Path, spec: FeatureSpec, tracks: Iterator[tuple[str, list[np.ndarray]]]
) -> dict[str, Location]:
    """Write one shard, of as many tracks as fill it; the others stay in the iterator."""
    ranges: dict[str, Ranges] = {}
    n_frames = 0
    with temporary_path(directory / "shard.npy") as temporary:
        with temporary.open("wb") as file:
            header_bytes = _write_header(file, n_frames, spec.n_mels)
            for key, pieces in tracks:
                ranges[key] = []
                for piece in pieces:
                    _check_piece(key, piece, spec.n_mels)
                    file.write(np.ascontiguousarray(piece).data)
                    ranges[key].append([n_frames, n_frames + len(piece)])
                    n_frames += len(piece)
                if n_frames * spec.n_mels >= SHARD_BYTES:
                    break
            file.seek(0)
            # NumPy pads the header, so that its length does not change with the first dimension.
            if _write_header(file, n_frames, spec.n_mels) != header_bytes:
                raise RuntimeError(f"{temporary}: the header of {n_frames} frames is longer than that of 0 frames")
        text = json.dumps([spec.key, list(ranges)])
        name = hashlib.sha256(text.encode()).hexdigest()[:16]
        array = array_path(directory, name)
        os.replace(temporary, array)
    sidecar = {"key": spec.key, "frames": n_frames, "bytes": array.stat().st_size, "tracks": ranges}
    write_text(_sidecar_path(directory, name), json.dumps(sidecar))
    return {key: (name, pieces) for key, pieces in ranges.items()}


def _check_piece(key: str, piece: np.ndarray, n_mels: int) -> None:
    if piece.dtype != np.uint8 or piece.ndim != 2 or piece.shape[1] != n_mels or not len(piece):
        raise ValueError(f"features of {key} must be uint8 (frames > 0, {n_mels}); got {piece.dtype} {piece.shape}.")


def _write_header(file: BinaryIO, n_frames: int, n_mels: int) -> int:
    """Write the header of a ``.npy`` file, and return its length in bytes."""
    shape = (n_frames, n_mels)
    np.lib.format.write_array_header_1_0(file, {"descr": "|u1", "fortran_order": False, "shape": shape})
    return file.tell()
