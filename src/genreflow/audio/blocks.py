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


def transposed(samples: np.ndarray) -> np.ndarray:
    """Return the transpose as a new array, for few channels several times as fast as NumPy's copy of it.

    Parameters
    ----------
    samples : np.ndarray [shape=(m, n)]

    Returns
    -------
    np.ndarray [shape=(n, m)]
        In C order; `samples` itself if it has one row or column.
    """
    rows, columns = samples.shape
    if min(rows, columns) > 8:
        return np.ascontiguousarray(samples.T)
    if 1 in (rows, columns):
        return samples.reshape(columns, rows)
    out = np.empty((columns, rows), dtype=samples.dtype)
    if columns < rows:
        for column in range(columns):
            out[column] = samples[:, column]
    else:
        for row in range(rows):
            out[:, row] = samples[row]
    return out


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
    damaged : float in [0, 1]
        Share of what was read so far that could not be decoded, and was left out.
    """

    sample_rate: int
    channels: int
    declared: float
    trusted: bool

    @property
    def damaged(self) -> float: ...

    def read(self, frames: int) -> Block:
        """Return about `frames` samples per channel; none at the end.

        Raises
        ------
        AudioError
            Code ``undecodable``: most of the file cannot be decoded.
        """

    def close(self) -> None: ...
