"""Spectrograms in ``.npz`` files."""

import math
import os
import zipfile
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

import numpy as np

from genreflow.datasets.labels import with_artist
from genreflow.datasets.options import IngestOptions
from genreflow.datasets.selection import select_tracks
from genreflow.datasets.spectrogram_shards import Shard, ShardsAndNotes, Spectrogram
from genreflow.datasets.track_table import Row
from genreflow.errors import ParameterError
from genreflow.features.spec import LevelReference
from genreflow.file_names import utf8_name
from genreflow.files import DAMAGED_NPZ, require_regular
from genreflow.manifest.track import Track, singleton_group

# Dynamic range of imported decibels [dB]; lower levels become 0.
TOP_DB = 80.0
# Larger arrays than this must not take more than so many times their bytes in the file: spectrograms of music are
# compressed to a half, not to a hundredth.
_SMALL_BYTES, _MAX_RATIO = 2**28, 50
_KEYS = ("spectrogram", "track", "genre")

Scale = Callable[[np.ndarray], np.ndarray]


def open_npz(files: list[Path], folder: Path, options: IngestOptions) -> ShardsAndNotes:
    """Read the metadata of the files; the spectrograms are read when the shards are iterated over.

    Raises
    ------
    ParameterError
        A file cannot be read, files contradict each other, or genres or tracks.csv are invalid.
    """
    names_of, genre_of, file_of = _read_labels(files)
    table, notes = options.table_or(folder / "tracks.csv")
    rows, table_notes = table.match(genre_of, root=folder)
    tracks = []
    for name, genre in genre_of.items():
        row = rows.get(name, Row())
        track = Track(
            id=name,
            genre=row.genre or genre,
            path=f"{file_of[name].stem}.npy",
            group=singleton_group(name),
            group_source="track",
            split=row.split,
        )
        tracks.append(with_artist(track, row.group, "tracks.csv"))
    selected = {track.id: track for track in select_tracks(tracks, options, where=str(folder))}
    return _iter_shards(names_of, selected), [*notes, *table_notes]


def _read_labels(files: list[Path]) -> tuple[dict[Path, list[str]], dict[str, str], dict[str, Path]]:
    """Return the track of each entry by file, and genre and file by track."""
    names_of: dict[Path, list[str]] = {}
    genre_of: dict[str, str] = {}
    file_of: dict[str, Path] = {}
    for file in files:
        names_of[file], genres = _labels(file)
        for name, genre in zip(names_of[file], genres, strict=True):
            if file_of.setdefault(name, file) != file:
                raise ParameterError(f"{file}: each track must be in one file; got {name}, also in {file_of[name]}.")
            if genre_of.setdefault(name, genre) != genre:
                raise ParameterError(
                    f"{file}: each track must have one genre; got {genre_of[name]} and {genre} for {name}."
                )
    return names_of, genre_of, file_of


def _iter_shards(names_of: dict[Path, list[str]], selected: dict[str, Track]) -> Iterator[Shard]:
    for file, names in names_of.items():
        entries = defaultdict(list)
        for position, name in enumerate(names):
            if name in selected:
                entries[name].append(position)
        if not entries:
            continue
        array, scale, reference = _spectrograms(file, len(names))
        spectrograms = []
        for name, positions in entries.items():
            finite = [array[position] for position in positions if np.isfinite(array[position]).all()]
            spectrograms.append(Spectrogram.from_pieces(selected[name], [scale(values).T for values in finite]))
        yield Shard(file.stem, spectrograms, array.shape[1], reference)


def _labels(path: Path) -> tuple[list[str], list[str]]:
    """Return track name and genre of each entry, without reading the spectrograms."""
    names, genres = (_texts(_array(path, key), key, path) for key in ("track", "genre"))
    if len(names) != len(genres):
        raise ParameterError(f"{path}: genre must have as many entries as track, {len(names)}; got {len(genres)}.")
    for position, (name, genre) in enumerate(zip(names, genres, strict=True)):
        if not (name and genre):
            raise ParameterError(f"{path}: {'genre' if name else 'track'} must not be empty; got entry {position}.")
    return names, genres


def _array(path: Path, key: str) -> np.ndarray:
    """Return an array of an ``.npz``; pickled objects are not loaded, since they can execute code."""
    try:
        require_regular(path)
        with zipfile.ZipFile(path) as archive:
            existing = [name.removesuffix(".npy") for name in archive.namelist() if name.endswith(".npy")]
            if set(_KEYS) - set(existing):
                raise ParameterError(
                    f"{path}: must hold the arrays {', '.join(_KEYS)}; got {', '.join(existing) or 'none'}."
                )
            for name in _KEYS:  # all of them, before any is read
                _check_size(archive.getinfo(f"{name}.npy"), path, name)
            member = archive.getinfo(f"{key}.npy")
            with archive.open(member) as file:
                _check_header(file, member, path, key)
            with archive.open(member) as file:
                return np.lib.format.read_array(file, allow_pickle=False)
    except MemoryError:
        raise ParameterError(f"{path}: {key} must fit into memory. Divide it into several files.") from None
    except ValueError as error:
        if "Object arrays" not in str(error):
            raise ParameterError(
                f"{path}: must be an .npz file, as numpy.savez_compressed writes; got {error}."
            ) from None
        raise ParameterError(
            f"{path}: {key} must not hold Python objects, which can execute code when loaded. Write text as "
            "np.array(..., dtype=str), and spectrograms of different widths to different files."
        ) from None
    except DAMAGED_NPZ as error:
        raise ParameterError(f"{path}: must be an intact .npz file; got {_reason(error)}.") from None


def _check_size(member: zipfile.ZipInfo, path: Path, key: str) -> None:
    """Refuse an array that is much larger than its file, before it is read."""
    limit = min(max(_SMALL_BYTES, _MAX_RATIO * member.compress_size), _memory_bytes() // 2)
    if member.file_size > limit:
        raise ParameterError(
            f"{path}: {key} must take <= {limit / 2**20:,.0f} MiB of memory; got {member.file_size / 2**20:,.0f} MiB, "
            f"from {member.compress_size / 2**20:,.1f} MiB in the file. Divide it into several files."
        )


def _check_header(file: IO[bytes], member: zipfile.ZipInfo, path: Path, key: str) -> None:
    """Check that an array has the size that its header declares, for which NumPy allocates memory before it reads."""
    version = np.lib.format.read_magic(file)
    readers = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
    if version not in readers:
        raise ParameterError(f"{path}: {key} must be in version 1 or 2 of NumPy's format; got version {version[0]}.")
    shape, _, dtype = readers[version](file)
    declared = math.prod(shape) * dtype.itemsize
    if not dtype.hasobject and declared > member.file_size:
        raise ParameterError(
            f"{path}: {key} must hold the {declared:,} bytes that it declares; got {member.file_size:,}."
        )


def _memory_bytes() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _reason(error: Exception) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or str(error) or type(error).__name__


def _texts(array: np.ndarray, key: str, path: Path) -> list[str]:
    if array.ndim != 1:
        raise ParameterError(f"{path}: {key} must have the shape (entries,); got {array.shape}.")
    try:
        values = array.tolist()
    except (ValueError, SystemError) as error:  # four bytes that are no character
        raise ParameterError(f"{path}: {key} must be text; got {error}.") from None
    if array.dtype.kind == "S":
        return [utf8_name(name.decode("utf-8", "surrogateescape")).strip() for name in values]
    return [utf8_name(str(name)).strip() for name in values]


def _spectrograms(path: Path, count: int) -> tuple[np.ndarray, Scale, LevelReference]:
    """Return the spectrograms [shape=(entries, n_mels, frames)], their conversion to uint8, and what 255 then means."""
    array = _array(path, "spectrogram")
    if array.ndim == 4 and array.shape[-1] == 1:
        array = array[..., 0]
    if array.ndim != 3 or 0 in array.shape:
        raise ParameterError(f"{path}: spectrogram must have the shape (entries, n_mels, frames); got {array.shape}.")
    if len(array) != count:
        raise ParameterError(f"{path}: spectrogram must have as many entries as track, {count}; got {len(array)}.")
    scale, reference = _scale(array, path)
    return array, scale, reference


def _scale(array: np.ndarray, path: Path) -> tuple[Scale, LevelReference]:
    """Detect the scale from type and range of the values: bytes, 0 to 1, or decibels."""
    if array.dtype == np.uint8:
        return lambda values: values, "minmax"
    if array.dtype.kind not in "iuf":
        raise ParameterError(f"{path}: spectrogram must be uint8, integer or float; got {array.dtype}.")
    lows, highs = array.min(axis=(1, 2)), array.max(axis=(1, 2))
    finite = np.isfinite(lows) & np.isfinite(highs)
    if not finite.any():
        raise ParameterError(f"{path}: spectrogram must be finite; got NaN or infinite values in every entry.")
    low, high = float(lows[finite].min()), float(highs[finite].max())
    if low >= 0 and 1 < high <= 255 and all(np.array_equal(values, np.rint(values)) for values in array[finite]):
        return lambda values: values.astype(np.uint8), "minmax"
    # The maximum of a log-mel scaled to 0..1 is near 1; that of a power spectrogram, which looks alike, seldom is.
    if array.dtype.kind == "f" and low >= 0 and 0.9 < high <= 1:
        return lambda values: np.rint(values * 255.0).astype(np.uint8), "minmax"
    if low < -1 and high <= 1e-3:
        return lambda values: np.rint(np.clip(1 + values / TOP_DB, 0, 1) * 255.0).astype(np.uint8), "max"
    raise ParameterError(
        f"{path}: spectrogram must be uint8, whole numbers from 0 to 255, 0 to 1, or decibels with a maximum of 0; got "
        f"values from {low:g} to {high:g}. Convert power or amplitude to decibels."
    )
