"""Spectrograms as greyscale images: time from left to right, lowest band at the bottom, white is the highest level."""

from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from joblib import Parallel, delayed
from PIL import Image

from genreflow.datasets.labels import genre_key
from genreflow.datasets.layout import tracks_from_paths
from genreflow.datasets.options import IngestOptions
from genreflow.datasets.selection import select_tracks
from genreflow.datasets.spectrogram_shards import Shard, ShardsAndNotes, Spectrogram
from genreflow.manifest.track import Track

# Raised by Pillow for files that are not valid PNG images.
_INVALID_IMAGE = (OSError, SyntaxError, EOFError, Image.DecompressionBombError)


def open_png(names: list[str], folder: Path, options: IngestOptions) -> ShardsAndNotes:
    """Read the metadata of images; the images are read when the shards, one per genre, are iterated over.

    Parameters
    ----------
    names : list of str
        Paths relative to `folder`.
    folder : Path
    options : IngestOptions

    Raises
    ------
    ParameterError
        Genres or tracks.csv are invalid.
    """
    table, notes = options.table_or(folder / "tracks.csv")
    tracks, track_notes = tracks_from_paths(names, table, root=folder)
    tracks = select_tracks(tracks, options, where=str(folder))
    return _iter_shards(tracks, folder, options.n_jobs), [*notes, *track_notes]


def _iter_shards(tracks: list[Track], folder: Path, n_jobs: int) -> Iterator[Shard]:
    parallel = Parallel(n_jobs=n_jobs, prefer="threads")
    heights: Counter[int] = Counter(parallel(delayed(_height)(folder / track.path) for track in tracks))
    del heights[0]
    n_mels = heights.most_common(1)[0][0] if heights else 0
    by_genre = defaultdict(list)
    for track in tracks:
        by_genre[track.genre].append(track)
    for number, (genre, own) in enumerate(by_genre.items()):
        spectrograms = parallel(delayed(_read)(track, folder, n_mels) for track in own)
        yield Shard(genre_key(genre) or f"_{number}", list(spectrograms), n_mels, "minmax")


def _height(path: Path) -> int:
    """Return the height of an image [pixels] from its header; 0 if it cannot be read."""
    try:
        with Image.open(path, formats=("PNG",)) as image:
            return image.height
    except _INVALID_IMAGE:
        return 0


def _read(track: Track, folder: Path, n_mels: int) -> Spectrogram:
    try:
        with Image.open(folder / track.path, formats=("PNG",)) as image:
            grey = _grey(image)
    except _INVALID_IMAGE as error:
        return Spectrogram(track, [], f"must be a PNG image; got {type(error).__name__}")
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
