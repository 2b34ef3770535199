"""Spectrograms in ``.npz`` files."""

import zipfile
import zlib
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from genreflow.datasets.choice import choose
from genreflow.datasets.labels import with_artist
from genreflow.datasets.request import Request
from genreflow.datasets.spectrogram_shards import Opened, Shard, content
from genreflow.errors import ParameterError
from genreflow.features.spec import LevelReference
from genreflow.manifest.track import Track, singleton_group

# Range that imported decibels are taken to have; softer cells become 0.
TOP_DB = 80.0
_KEYS = ("spectrogram", "track", "genre")

Scale = Callable[[np.ndarray], np.ndarray]


def open_npz(files: list[Path], folder: Path, request: Request) -> Opened:
    """Read what the files say of their tracks; their spectrograms are read as the shards are asked for.

    Raises
    ------
    ParameterError
        A file cannot be read or understood, files contradict each other, or genres or tracks.csv are at fault.
    """
    names_of, genre_of, file_of = {}, {}, {}
    for file in files:
        names_of[file], genres = _labels(file)
        for name, genre in zip(names_of[file], genres, strict=True):
            if file_of.setdefault(name, file) != file:
                raise ParameterError(f"Track {name} is in {file_of[name]} and in {file}; one file a track is right.")
            if genre_of.setdefault(name, genre) != genre:
                raise ParameterError(f"{file} gives {name} two genres, {genre_of[name]} and {genre}; one is right.")
    table, notes = request.table_near(folder / "tracks.csv")
    rows, more = table.match(genre_of, root=folder)
    tracks = []
    for name, genre in genre_of.items():
        row = rows.get(name)
        track = Track(
            id=name,
            genre=(row and row.genre) or genre,
            path=f"{file_of[name].stem}.npy",
            group=singleton_group(name),
            group_source="track",
            split=row.split if row else None,
        )
        tracks.append(with_artist(track, row.group if row else None, "tracks.csv"))
    chosen = {track.id: track for track in choose(tracks, request, where=str(folder))}
    return _shards(names_of, chosen), [*notes, *more]


def _shards(names_of: dict[Path, list[str]], chosen: dict[str, Track]) -> Iterator[Shard]:
    for file, names in names_of.items():
        entries = defaultdict(list)
        for position, name in enumerate(names):
            if name in chosen:
                entries[name].append(position)
        if not entries:
            continue
        array, scale, reference = _spectrograms(file, len(names))
        contents = []
        for name, positions in entries.items():
            usable = [array[position] for position in positions if np.isfinite(array[position]).all()]
            contents.append(content(chosen[name], [scale(cells).T for cells in usable]))
        yield Shard(file.stem, contents, array.shape[1], reference)


def _labels(path: Path) -> tuple[list[str], list[str]]:
    """Return the names of the tracks and their genres, one of each an entry, without reading the spectrograms."""
    names, genres = (_texts(_array(path, key), key, path) for key in ("track", "genre"))
    if len(names) != len(genres):
        raise ParameterError(f"{path} has {len(names)} tracks, but {len(genres)} genres; one each an entry is right.")
    for position, (name, genre) in enumerate(zip(names, genres, strict=True)):
        if not (name and genre):
            missing = "genre" if name else "track"
            raise ParameterError(f"{path} has no {missing} for entry {position}; each needs a name.")
    return names, genres


def _array(path: Path, key: str) -> np.ndarray:
    """Return one array of an ``.npz``; nothing in the file is executed (no pickles)."""
    try:
        with np.load(path, allow_pickle=False) as arrays:
            there = getattr(arrays, "files", ())
            if set(_KEYS) - set(there):
                raise ParameterError(
                    f"{path} holds {', '.join(there) or 'no named arrays'}; the arrays {', '.join(_KEYS)} are needed."
                )
            return arrays[key]
    except ValueError as error:
        if "Object arrays" not in str(error):
            raise ParameterError(f"{path} cannot be read as .npz; numpy.savez_compressed writes such files.") from None
        raise ParameterError(
            f"{path} holds Python objects in {key}, which are not loaded since they could run code; give text as "
            "np.array(..., dtype=str) and spectrograms of one width as a plain array, others in a file a width."
        ) from None
    except (OSError, EOFError, TypeError, zipfile.BadZipFile, zlib.error) as error:
        raise ParameterError(f"{path} cannot be read as .npz: {error}.") from None


def _texts(array: np.ndarray, key: str, path: Path) -> list[str]:
    if array.ndim != 1:
        raise ParameterError(f"{path} has {key} of shape {array.shape}; one name an entry, (entries,), is right.")
    if array.dtype.kind == "S":
        return [name.decode("utf-8", "replace").strip() for name in array.tolist()]
    return [str(name).strip() for name in array.tolist()]


def _spectrograms(path: Path, count: int) -> tuple[np.ndarray, Scale, LevelReference]:
    """Return the spectrograms (entries, n_mels, frames) as stored, how to make an entry bytes, and what 255 is then."""
    array = _array(path, "spectrogram")
    if array.ndim == 4 and array.shape[-1] == 1:
        array = array[..., 0]
    if array.ndim != 3 or 0 in array.shape:
        raise ParameterError(f"{path} has spectrogram of shape {array.shape}; (entries, n_mels, frames) is right.")
    if len(array) != count:
        raise ParameterError(f"{path} has {len(array)} spectrograms, but {count} tracks; one each an entry is right.")
    return array, *_scale(array, path)


def _scale(array: np.ndarray, path: Path) -> tuple[Scale, LevelReference]:
    """Tell from type and range of the values what they are: bytes, shares of one, or decibels."""
    if array.dtype == np.uint8:
        return lambda cells: cells, "minmax"
    if array.dtype.kind not in "iuf":
        raise ParameterError(f"{path} has spectrogram of type {array.dtype}; uint8 or a float type is right.")
    lows, highs = array.min(axis=(1, 2)), array.max(axis=(1, 2))
    finite = np.isfinite(lows) & np.isfinite(highs)
    if not finite.any():
        raise ParameterError(f"{path} has no spectrogram without NaN or infinite values; finite ones are needed.")
    low, high = float(lows[finite].min()), float(highs[finite].max())
    if low >= 0 and 1 < high <= 255 and all(np.array_equal(cells, np.rint(cells)) for cells in array[finite]):
        return lambda cells: cells.astype(np.uint8), "minmax"
    # A log-mel scaled to 0..1 comes near 1; power spectrograms, which look alike, seldom end just there.
    if array.dtype.kind == "f" and low >= 0 and 0.9 < high <= 1:
        return lambda cells: np.rint(cells * 255.0).astype(np.uint8), "minmax"
    if low < -1 and high <= 1e-3:
        return lambda cells: np.rint(np.clip(1 + cells / TOP_DB, 0, 1) * 255.0).astype(np.uint8), "max"
    raise ParameterError(
        f"{path} has spectrograms with values from {low:g} to {high:g}; understood are uint8, whole numbers 0 to 255, "
        "0 to 1, and decibels of which 0 is the loudest (power or amplitude must be converted first)."
    )
