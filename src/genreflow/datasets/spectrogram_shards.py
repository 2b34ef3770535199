"""Imported spectrograms, passed on file by file, so that only one file is in memory."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from genreflow.features.spec import LevelReference
from genreflow.manifest.track import Track


@dataclass(frozen=True)
class Spectrogram:
    """The spectrogram of a track.

    Parameters
    ----------
    track : Track
    pieces : list of np.ndarray [shape=(frames, n_mels), dtype=uint8]
        The whole track, or its segments; lowest band first.
    error : str or None
        Why it cannot be used, a predicate of the track's name.
    """

    track: Track
    pieces: list[np.ndarray]
    error: str | None = None

    @classmethod
    def from_pieces(cls, track: Track, pieces: Sequence[np.ndarray]) -> "Spectrogram":
        """Return the spectrogram of `track`, with an error if it is empty or constant."""
        if not pieces:
            return cls(track, [], "must be finite; got NaN or infinite values")
        if all(piece.min() == piece.max() for piece in pieces):
            return cls(track, list(pieces), "must not be constant, as silence is")
        return cls(track, list(pieces))


@dataclass(frozen=True)
class Shard:
    """The spectrograms of one file of raw data.

    Parameters
    ----------
    name : str
        Of the file to write, without suffix.
    spectrograms : list of Spectrogram
    n_mels : int > 0
    level_reference : {"minmax", "max"}
        Meaning of level 255, see `FeatureSpec`.
    """

    name: str
    spectrograms: list[Spectrogram]
    n_mels: int
    level_reference: LevelReference


# The shards of a source, and messages for users.
ShardsAndNotes = tuple[Iterator[Shard], list[str]]
