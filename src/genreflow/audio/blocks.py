"""What readers return."""

from typing import NamedTuple, Protocol

import numpy as np

MAX_SAMPLE_RATE = 768_000
# Samples of all channels per read, whatever the header declares: 256 kB of float32, which stay in the cache.
READ_SAMPLES = 1 << 16


class Block(NamedTuple):
    """Consecutive samples.

    Parameters
    ----------
    samples : np.ndarray [shape=(channels, n), dtype=float32]
        Full scale is 1.
    sample_rate : int [Hz]
        It may change within a file, as the number of channels may: joined files have both of each.
    """

    samples: np.ndarray
    sample_rate: int


class Reader(Protocol):
    """An open file.

    Attributes
    ----------
    sample_rate : int [Hz]
        Of the first block.
    channels : int
        Of the first block.
    declared : float >= 0 [s]
        Exact duration according to the header; 0 if the header has none, or an estimate.
    trusted : bool
        Whether the file holds at least the declared duration.
    """

    sample_rate: int
    channels: int
    declared: float
    trusted: bool

    def read(self, frames: int) -> Block:
        """Return about `frames` samples per channel; none at the end.

        Raises
        ------
        AudioError
            Code ``undecodable``: most of the file cannot be decoded.
        """

    def close(self) -> None: ...
