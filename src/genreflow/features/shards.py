"""The shards of a feature store on disk: written under another name, valid from their last rename, never edited."""

import hashlib
import json
import os
import uuid
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from genreflow.errors import AudioError
from genreflow.features.spec import FeatureSpec

Place = tuple[str, list[list[int]]]  # shard, and [first frame, end] of each piece in it
Job = list[tuple[str, Any]]  # key of each track, and what its features are computed from
Done = tuple[dict[str, Place], dict[str, str]]  # where the tracks of a job lie, and the messages of those that failed

SHARD_BYTES = 64 * 2**20
_TEMPORARY = ".writing-"


@dataclass(frozen=True)
class Shard:
    """A valid shard: its name, its frames, and the pieces of its tracks."""

    name: str
    frames: int
    tracks: dict[str, list[list[int]]]


def array_path(directory: Path, name: str) -> Path:
    return directory / f"shard-{name}.npy"


def _sidecar_path(directory: Path, name: str) -> Path:
    return directory / f"shard-{name}.json"


def temporary_path(directory: Path) -> Path:
    """Name a new file that counts for nothing, and that the end of an update removes."""
    return directory / f"{_TEMPORARY}{uuid.uuid4().hex}"


def write_json(path: Path, content: dict) -> None:
    """Write JSON whole or not at all."""
    temporary = temporary_path(path.parent)
    temporary.write_text(json.dumps(content))
    os.replace(temporary, path)


def read_shards(directory: Path, spec: FeatureSpec) -> list[Shard]:
    """Find the valid shards of a spec, by name."""
    found = []
    for sidecar in sorted(directory.glob("shard-*.json")):
        try:
            content = json.loads(sidecar.read_text())
            name = sidecar.stem.removeprefix("shard-")
            if content["key"] == spec.key and content["bytes"] == array_path(directory, name).stat().st_size:
                found.append(Shard(name, content["frames"], content["tracks"]))
        except (OSError, ValueError, KeyError):
            continue  # nothing that an update can use, so that it is removed at its end
    return found


def remove_all_but(directory: Path, names: Collection[str]) -> None:
    """Remove all other shards, and what processes that were killed left half-written."""
    # The sidecars first: without them the arrays count for nothing.
    for pattern in ("shard-*.json", "shard-*.npy", f"{_TEMPORARY}*"):
        for path in directory.glob(pattern):
            if path.stem.removeprefix("shard-") not in names:
                path.unlink(missing_ok=True)


def compute_shards(directory: Path, spec: FeatureSpec, job: Job, compute: Callable[[Any], list[np.ndarray]]) -> Done:
    """Compute the tracks of one job and write them; return where they lie, and the messages of those that failed."""
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
) -> dict[str, Place]:
    """Write tracks as they come to as many shards as their size asks for; only one track is in memory at a time."""
    places: dict[str, Place] = {}
    writer = None
    try:
        for key, pieces in tracks:
            writer = writer or _ShardWriter(directory, spec)
            writer.append(key, pieces)
            if writer.frames * spec.n_mels >= SHARD_BYTES:
                places |= writer.finish()
                writer = None
        if writer:
            places |= writer.finish()
            writer = None
    finally:
        if writer:
            writer.discard()
    return places


class _ShardWriter:
    """Appends tracks to a .npy file whose header is filled in last."""

    def __init__(self, directory: Path, spec: FeatureSpec) -> None:
        self.frames = 0
        self._directory, self._spec = directory, spec
        self._tracks: dict[str, list[list[int]]] = {}
        self._path = temporary_path(directory)
        self._file = self._path.open("wb")
        self._data_begin = self._write_header()

    def append(self, key: str, pieces: list[np.ndarray]) -> None:
        places = []
        for piece in pieces:
            if piece.dtype != np.uint8 or piece.ndim != 2 or piece.shape[1] != self._spec.n_mels or not len(piece):
                raise ValueError(
                    f"track {key} gave {piece.dtype} {piece.shape}; uint8 (frames, {self._spec.n_mels}) is right"
                )
            self._file.write(np.ascontiguousarray(piece))
            places.append([self.frames, self.frames + len(piece)])
            self.frames += len(piece)
        self._tracks[key] = places

    def finish(self) -> dict[str, Place]:
        self._file.seek(0)
        # NumPy pads headers so that a growing first axis leaves their length alone.
        if self._write_header() != self._data_begin:
            raise RuntimeError(f"the header of {self._path} has outgrown its place")
        self._file.close()
        text = json.dumps([self._spec.key, list(self._tracks)])
        name = hashlib.sha256(text.encode()).hexdigest()[:16]
        array = array_path(self._directory, name)
        os.replace(self._path, array)
        write_json(
            _sidecar_path(self._directory, name),
            {"key": self._spec.key, "frames": self.frames, "bytes": array.stat().st_size, "tracks": self._tracks},
        )
        return {key: (name, pieces) for key, pieces in self._tracks.items()}

    def discard(self) -> None:
        self._file.close()
        self._path.unlink(missing_ok=True)

    def _write_header(self) -> int:
        shape = (self.frames, self._spec.n_mels)
        np.lib.format.write_array_header_1_0(self._file, {"descr": "|u1", "fortran_order": False, "shape": shape})
        return self._file.tell()
