"""Spectrograms as greyscale images: time from left to right, lowest band at the bottom, white is the highest level."""

import struct
import zlib
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from joblib import Parallel, delayed
from PIL import Image

from genreflow.datasets.labels import genre_key
from genreflow.datasets.layout import FoundFiles, is_inside, tracks_from_paths
from genreflow.datasets.options import IngestOptions
from genreflow.datasets.selection import select_tracks
from genreflow.datasets.spectrogram_shards import Shard, ShardsAndNotes, Spectrogram
from genreflow.files import require_regular
from genreflow.manifest.track import Track

# Raised by Pillow for files that are not valid PNG images, or too large.
_INVALID_IMAGE = (
    OSError, SyntaxError, EOFError, ValueError, struct.error, zlib.error, MemoryError, Image.DecompressionBombError,
)  # fmt: skip
_LONGEST_NAME = 200  # bytes; file systems allow 255
_MAX_PIXELS = 50_000_000  # five hours of 128 bands; more would take as many bytes, several times, in each thread


def open_png(found: FoundFiles, folder: Path, options: IngestOptions) -> ShardsAndNotes:
    """Read the metadata of images; the images are read when the shards, one per genre, are iterated over.

    Parameters
    ----------
    found : FoundFiles
        The images in `folder`.
    folder : Path
    options : IngestOptions

    Raises
    ------
    ParameterError
        Genres or tracks.csv are invalid.
    """
    table, notes = options.table_or(folder / "tracks.csv")
    tracks, track_notes = tracks_from_paths(found, table, root=folder)
    tracks = select_tracks(tracks, options, where=str(folder))
    return _iter_shards(tracks, folder, options.n_jobs), [*notes, *track_notes]


def _iter_shards(tracks: list[Track], folder: Path, n_jobs: int) -> Iterator[Shard]:
    parallel = Parallel(n_jobs=n_jobs, prefer="threads")
    heights: Counter[int] = Counter(parallel(delayed(_height)(track, folder) for track in tracks))
    del heights[0]
    n_mels = heights.most_common(1)[0][0] if heights else 0
    by_genre = defaultdict(list)
    for track in tracks:
        by_genre[track.genre].append(track)
    for number, (genre, own) in enumerate(by_genre.items()):
        spectrograms = parallel(delayed(_read)(track, folder, n_mels) for track in own)
        key = genre_key(genre)
        name = key if 0 < len(key.encode()) <= _LONGEST_NAME else f"_{number}"
        yield Shard(name, list(spectrograms), n_mels, "minmax")


def _open_image(track: Track, folder: Path) -> Image.Image:
    """Open the image of a track; raises one of `_INVALID_IMAGE`."""
    if not is_inside(folder / track.path, folder):
        raise OSError("a link that leaves the folder")
    require_regular(folder / track.path)
    image = Image.open(folder / track.path, formats=("PNG",))
    if image.width * image.height > _MAX_PIXELS:
        image.close()
        raise OSError(f"{image.width} x {image.height} pixels")
    return image


def _height(track: Track, folder: Path) -> int:
    """Return the height of an image [pixels] from its header; 0 if it cannot be read."""
    if track.error:
        return 0
    try:
        with _open_image(track, folder) as image:
            return image.height
    except _INVALID_IMAGE:
        return 0


def _read(track: Track, folder: Path, n_mels: int) -> Spectrogram:
    if track.error:  # its name or path is refused
        return Spectrogram(track, [], track.error["message"].removeprefix(f"{track.path}: ").removesuffix("."))
    try:
        with _open_image(track, folder) as image:
            grey = _grey(image)
    except _INVALID_IMAGE as error:
        found = error if type(error) is OSError and not error.errno else type(error).__name__
        return Spectrogram(track, [], f"must be a PNG image of at most {_MAX_PIXELS:,} pixels; got {found}")
    if grey is None:
        return Spectrogram(track, [], "must be greyscale; got colours")
    if len(grey) != n_mels:
        return Spectrogram(track, [], f"must be {n_mels} pixels (bands) high, as most images are; got {len(grey)}")
    return Spectrogram.from_pieces(track, [np.ascontiguousarray(grey[::-1].T)])


def _grey(image: Image.Image) -> np.ndarray | None:
    """Return the levels of an image [shape=(height, width), dtype=uint8], top row first; None for colour images."""
    if image.mode.startswith("I"):  # 16 bits per pixel
        return (np.asarray(image) >> 8).astype(np.uint8)
    if image.mode in ("L", "1"):
        return np.asarray(image.convert("L"))
    channels = np.asarray(image.convert("RGB"))
    return None if (channels != channels[..., :1]).any() else channels[..., 0]
