"""How readers of imported spectrograms hand over what they read, so that no more than one file is in memory."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from genreflow.features.spec import LevelReference
from genreflow.manifest.track import Track


@dataclass(frozen=True)
class Content:
    """The spectrogram of one track.

    Parameters
    ----------
    track : Track
    pieces : list of np.ndarray [shape=(frames, n_mels), dtype=uint8]
        The whole track, or its segments; low band first.
    wrong : str or None
        What is wrong with it, in words that follow its name.
    """

    track: Track
    pieces: list[np.ndarray]
    wrong: str | None = None


@dataclass(frozen=True)
class Shard:
    """The spectrograms of one file of raw data.

    Parameters
    ----------
    name : str
        Of the file to write, without suffix.
    contents : list of Content
    n_mels : int > 0
    level_reference : {"minmax", "max"}
        What level 255 stands for.
    """

    name: str
    contents: list[Content]
    n_mels: int
    level_reference: LevelReference


# The shards of a source, and notes on it.
Opened = tuple[Iterator[Shard], list[str]]


def content(track: Track, pieces: Sequence[np.ndarray]) -> Content:
    """Return the content of `track`, marked as wrong if no piece has anything in it."""
    if not pieces:
        return Content(track, [], "holds NaN or infinite values")
    if all(piece.min() == piece.max() for piece in pieces):
        return Content(track, list(pieces), "is the same level everywhere, as silence is")
    return Content(track, list(pieces))
