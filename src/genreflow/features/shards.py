"""The shards of a feature store: written under temporary names, valid once both files are renamed, never edited.

A shard is an array ``shard-<name>.npy`` and a sidecar ``shard-<name>.json`` with the locations of its tracks and the
SHA-256 of the array. Whoever uses a shard compares that first: disks fail, and DVC takes what it finds in its outs.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from genreflow.errors import AudioError
from genreflow.features.index import NoChecksumError, Ranges, read_checked_json, write_checked_json
from genreflow.features.spec import RowSpec
from genreflow.files import atomic_file, is_resource_error, remove_leftovers, sha256, temporary_path

Job = list[tuple[str, Any]]  # key of each track, and what its features are computed from
JobResult = tuple[list["Shard"], dict[str, str]]  # what was written, and by key the messages of the tracks that failed

SHARD_BYTES = 64 * 2**20


@dataclass(frozen=True)
class Shard:
    """A shard whose sidecar is intact.

    Parameters
    ----------
    directory : Path
    name : str
    frames : int > 0
        Frames of all its tracks.
    tracks : dict of str to list of [int, int]
        Ranges of frames, by the key of the track.
    sha256 : str
        Of the file with the array.
    """

    directory: Path
    name: str
    frames: int
    tracks: dict[str, Ranges]
    sha256: str

    def open(self) -> np.ndarray:
        """Return the memory-mapped array [shape=(frames, row_size), dtype=row_type]; see `open_array`."""
        return open_array(self.directory, self.name, self.sha256)


def array_path(directory: Path, name: str) -> Path:
    """Return the path of a shard's frames."""
    return directory / f"shard-{name}.npy"


def _sidecar_path(directory: Path, name: str) -> Path:
    return directory / f"shard-{name}.json"


class DamagedShardError(Exception):
    """The array of a shard is missing, or is not what was written."""


def open_array(directory: Path, name: str, expected_sha256: str | None) -> np.ndarray:
    """Verify the array of a shard, and map it into memory.

    Parameters
    ----------
    directory : Path
    name : str
    expected_sha256 : str or None
        None: it is verified already.

    Raises
    ------
    DamagedShardError
        It cannot be read, or its SHA-256 is another one.
    """
    path = array_path(directory, name)
    try:
        if expected_sha256 is not None and (found := sha256(path)) != expected_sha256:
            raise DamagedShardError(f"SHA-256 {found[:16]}… instead of {expected_sha256[:16]}…")
        return np.asarray(np.load(path, mmap_mode="r"))
    except OSError as error:
        if is_resource_error(error):
            raise
        raise DamagedShardError(error.strerror or str(error)) from error


def read_shards(directory: Path, spec: RowSpec) -> tuple[list[Shard], list[str]]:
    """Read the sidecars of a store; the arrays are not read.

    Returns
    -------
    found : list of Shard
        The shards of the spec, sorted by name.
    damaged : list of str
        Names of the shards whose sidecars are damaged.
    """
    found, damaged = [], []
    for path in sorted(directory.glob("shard-*.json")):
        name = path.stem.removeprefix("shard-")
        try:
            content = read_checked_json(path)
            if content["key"] == spec.key:
                found.append(Shard(directory, name, content["frames"], content["tracks"], content["sha256"]))
        except NoChecksumError:
            continue
        except (OSError, ValueError, KeyError):
            damaged.append(name)  # `remove_unused` removes it at the end of the update
    return found, damaged


def link_shard(directory: Path, name: str, target: Path) -> None:
    """Give another store a shard, as hard links where the file system has them, else as copies."""
    for path in (array_path(directory, name), _sidecar_path(directory, name)):  # the sidecar last: it makes it valid
        with atomic_file(target / path.name) as temporary:
            source = path.resolve(strict=True)  # DVC may have made the file a symbolic link to its cache
            try:
                os.link(source, temporary)
            except OSError as error:
                if is_resource_error(error):
                    raise
                shutil.copyfile(source, temporary)


def remove_unused(directory: Path, names: Collection[str]) -> None:
    """Remove all shards but those in `names`, and the temporary files of killed processes."""
    # The sidecars first: an array without its sidecar is no valid shard.
    for pattern in ("shard-*.json", "shard-*.npy"):
        for path in directory.glob(pattern):
            if path.stem.removeprefix("shard-") not in names:
                path.unlink(missing_ok=True)
    remove_leftovers(directory)


def compute_shards(directory: Path, spec: RowSpec, job: Job, compute: Callable[[Any], list[np.ndarray]]) -> JobResult:
    """Compute the features of the tracks of one job and write them; an `AudioError` of a track becomes its message."""
    failed: dict[str, str] = {}

    def computed() -> Iterator[tuple[str, list[np.ndarray]]]:
        for key, payload in job:
            try:
                yield key, compute(payload)
            except AudioError as error:
                failed[key] = str(error)

    return write_shards(directory, spec, computed()), failed


def write_shards(directory: Path, spec: RowSpec, tracks: Iterable[tuple[str, list[np.ndarray]]]) -> list[Shard]:
    """Write tracks to shards of about `SHARD_BYTES`, one track in memory at a time.

    Parameters
    ----------
    directory : Path
    spec : RowSpec
    tracks : iterable of (str, list of np.ndarray [shape=(frames, row_size), dtype=row_type])

    Returns
    -------
    list of Shard
    """
    written: list[Shard] = []
    remaining = iter(tracks)
    for track in remaining:
        written.append(_write_shard(directory, spec, chain([track], remaining)))
    return written


def _write_shard(directory: Path, spec: RowSpec, tracks: Iterator[tuple[str, list[np.ndarray]]]) -> Shard:
    """Write one shard, of as many tracks as fill it; the others stay in the iterator."""
    ranges: dict[str, Ranges] = {}
    n_frames, row_bytes = 0, spec.row_size * np.dtype(spec.row_type).itemsize
    with temporary_path(directory / "shard.npy") as temporary:
        with temporary.open("wb") as file:
            header_bytes = _write_header(file, n_frames, spec)
            for key, pieces in tracks:
                ranges[key] = []
                for piece in pieces:
                    _check_piece(key, piece, spec)
                    file.write(np.ascontiguousarray(piece).data)
                    ranges[key].append([n_frames, n_frames + len(piece)])
                    n_frames += len(piece)
                if n_frames * row_bytes >= SHARD_BYTES:
                    break
            file.seek(0)
            # NumPy pads the header, so that its length does not change with the first dimension.
            if _write_header(file, n_frames, spec) != header_bytes:
                raise RuntimeError(f"{temporary}: the header of {n_frames} frames is longer than that of 0 frames")
        text = json.dumps([spec.key, list(ranges)])
        name, content = hashlib.sha256(text.encode()).hexdigest()[:16], sha256(temporary)
        os.replace(temporary, array_path(directory, name))
    sidecar = {"key": spec.key, "frames": n_frames, "sha256": content, "tracks": ranges}
    write_checked_json(_sidecar_path(directory, name), sidecar)
    return Shard(directory, name, n_frames, ranges, content)


def _check_piece(key: str, piece: np.ndarray, spec: RowSpec) -> None:
    if piece.dtype != spec.row_type or piece.ndim != 2 or piece.shape[1] != spec.row_size or not len(piece):
        expected = f"{np.dtype(spec.row_type)} (frames > 0, {spec.row_size})"
        raise ValueError(f"features of {key} must be {expected}; got {piece.dtype} {piece.shape}.")


def _write_header(file: BinaryIO, n_frames: int, spec: RowSpec) -> int:
    """Write the header of a ``.npy`` file, and return its length in bytes."""
    header = {"descr": spec.row_type, "fortran_order": False, "shape": (n_frames, spec.row_size)}
    np.lib.format.write_array_header_1_0(file, header)
    return file.tell()
