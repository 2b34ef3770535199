"""Spectrograms as greyscale pictures: time to the right, the low band at the bottom, white loudest."""

from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from joblib import Parallel, delayed
from PIL import Image

from genreflow.datasets.choice import choose
from genreflow.datasets.labels import genre_key
from genreflow.datasets.layout import place_tracks
from genreflow.datasets.request import Request
from genreflow.datasets.spectrogram_shards import Content, Opened, Shard, content
from genreflow.manifest.track import Track

# What Pillow raises for files that are no sound PNG.
_NO_PICTURE = (OSError, SyntaxError, EOFError, Image.DecompressionBombError)


def open_png(names: list[str], folder: Path, request: Request) -> Opened:
    """Find out what the pictures `names` below `folder` are of; they are read as the shards, one a genre, are taken.

    Raises
    ------
    ParameterError
        Genres or tracks.csv are at fault.
    """
    table, notes = request.table_near(folder / "tracks.csv")
    tracks, more = place_tracks(names, table, root=folder)
    tracks = choose(tracks, request, where=str(folder))
    return _shards(tracks, folder, request.n_jobs), [*notes, *more]


def _shards(tracks: list[Track], folder: Path, n_jobs: int) -> Iterator[Shard]:
    parallel = Parallel(n_jobs=n_jobs, prefer="threads")
    heights = Counter(parallel(delayed(_height)(folder / track.path) for track in tracks))
    del heights[0]
    n_mels = max(heights, key=heights.get, default=0)
    by_genre = defaultdict(list)
    for track in tracks:
        by_genre[track.genre].append(track)
    for number, (genre, of_one) in enumerate(by_genre.items()):
        contents = parallel(delayed(_content)(track, folder, n_mels) for track in of_one)
        yield Shard(genre_key(genre) or f"_{number}", contents, n_mels, "minmax")


def _height(path: Path) -> int:
    """Return the height of a picture in pixels, from its header; 0 if that cannot be read."""
    try:
        with Image.open(path, formats=("PNG",)) as picture:
            return picture.height
    except _NO_PICTURE:
        return 0


def _content(track: Track, folder: Path, n_mels: int) -> Content:
    try:
        with Image.open(folder / track.path, formats=("PNG",)) as picture:
            grey = _grey(picture)
    except _NO_PICTURE as error:
        return Content(track, [], f"cannot be read as PNG ({type(error).__name__})")
    if grey is None:
        return Content(track, [], "is a picture in colour, whose levels cannot be told; greyscale is right")
    if len(grey) != n_mels:
        return Content(track, [], f"is {len(grey)} pixels (bands) high where most are {n_mels}")
    return content(track, [np.ascontiguousarray(grey[::-1].T)])


def _grey(picture: Image.Image) -> np.ndarray | None:
    """Return the levels of a picture [shape=(height, width), dtype=uint8], top row first; None of one in colour."""
    if picture.mode.startswith("I"):  # 16 bits a pixel
        return (np.asarray(picture) >> 8).astype(np.uint8)
    if picture.mode in ("L", "1"):
        return np.asarray(picture.convert("L"))
    channels = np.asarray(picture.convert("RGB"))
    return None if (channels != channels[..., :1]).any() else channels[..., 0]
