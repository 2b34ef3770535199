"""Compiled loops that read segments of uint8 frames and augment them.

They visit each cell once and release the GIL, so that a thread prepares batches while the model is updated. The same
steps in NumPy took four times as long, enough to hold up the smallest networks.
"""

from collections.abc import Sequence

import numba
import numpy as np
from numba.typed import List

from genreflow.training.augment import Augmentation

# For every byte v, v * _HIGH + v * _LOW is exactly the float32 nearest to v / 255, in a third of the time of dividing.
_HIGH = np.float32(round(2**23 / 255) / 2**23)
_LOW = np.float32(1 / 255 - float(_HIGH))


def typed_list(pieces: Sequence[np.ndarray]) -> List:
    """Make the list of arrays that the kernels index.

    Parameters
    ----------
    pieces : sequence of np.ndarray [shape=(frames, n_mels), dtype=uint8]
        C-contiguous. The list holds views of them, no copies.

    Returns
    -------
    numba.typed.List
    """
    # Numba compiles for one type of array, and memory-mapped shards are read-only.
    views = [piece.view() for piece in pieces]
    for view in views:
        view.flags.writeable = False
    return List(views)


def read_segments(out: np.ndarray, pieces: List, piece_index: np.ndarray, rows: np.ndarray) -> None:
    """Read segments of several pieces.

    Parameters
    ----------
    out : np.ndarray [shape=(n, frames, n_mels), dtype=float32]
        Overwritten with levels in [0, 1].
    pieces : numba.typed.List
        See `typed_list`.
    piece_index : np.ndarray [shape=(n,), dtype=int64]
        Piece that each segment is read from.
    rows : np.ndarray [shape=(n, frames), dtype=int64]
        Frames to read, >= 0; a frame past the end of its piece is read as 0.
    """
    _read(out, pieces, piece_index, rows)


def read_augmented_segments(
    out: np.ndarray, pieces: List, piece_index: np.ndarray, rows: np.ndarray, augmentation: Augmentation
) -> None:
    """Read segments as `read_segments` does, and augment them.

    Masked frames and bands are filled with the mean of each band over the segment, as in SpecAugment (Park et al.
    2019), since zero would be a level that the model knows as silence.

    Parameters
    ----------
    out, pieces, piece_index, rows
        As in `read_segments`.
    augmentation : Augmentation
        Of the ``n`` segments.
    """
    _read_augmented(
        out,
        pieces,
        piece_index,
        rows,
        augmentation.band_shift,
        augmentation.source_bands,
        augmentation.contrast,
        augmentation.noise,
        augmentation.level_offset,
        augmentation.time_masks,
        augmentation.band_masks,
    )
    if (augmentation.mixup_weight != 1).any():
        _mixup(out, augmentation.mixup_weight, augmentation.mixup_partner)


# The inner loops run over slices of one axis, which is what LLVM vectorises. Band indices that are read from an array
# are unsigned: a signed index would be tested for being negative.


@numba.njit(nogil=True, cache=True)
def _read(out: np.ndarray, pieces: List, piece_index: np.ndarray, rows: np.ndarray) -> None:
    for i in range(out.shape[0]):
        piece = pieces[piece_index[i]]
        for t in range(out.shape[1]):
            _read_frame(out[i, t], piece, rows[i, t], 0)


@numba.njit(nogil=True, cache=True)
def _read_augmented(
    out: np.ndarray,
    pieces: List,
    piece_index: np.ndarray,
    rows: np.ndarray,
    band_shift: np.ndarray,
    source_bands: np.ndarray,
    contrast: np.ndarray,
    noise: np.ndarray,
    level_offset: np.ndarray,
    time_masks: np.ndarray,
    band_masks: np.ndarray,
) -> None:
    n, frames, bands = out.shape
    line = np.empty(bands, np.float32)
    for i in range(n):
        x = out[i]
        piece = pieces[piece_index[i]]
        for t in range(frames):
            _read_frame(x[t], piece, rows[i, t], band_shift[i])
            if source_bands.shape[1]:
                line[:] = x[t]
                _take(x[t], line, source_bands[i])
        if contrast[i] != np.float32(1):
            _scale_contrast(x, contrast[i])
        if noise.size:
            for t in range(frames):
                _add_clipped(x[t], noise[i, t])
        if level_offset.shape[1]:
            for t in range(frames):
                _add_clipped(x[t], level_offset[i])
        if time_masks.shape[1] + band_masks.shape[1]:
            _mask(x, time_masks[i], band_masks[i])


@numba.njit(nogil=True, cache=True)
def _read_frame(target: np.ndarray, piece: np.ndarray, row: int, shift: int) -> None:
    """Read a frame as levels in [0, 1], moved up by `shift` bands; the outermost band is repeated."""
    if row >= len(piece):
        target[:] = 0
        return
    bands = len(target)
    low = min(max(shift, 0), bands - 1)
    high = max(bands + min(shift, 0), 1)
    inner, source = target[low:high], piece[row][low - shift : high - shift]
    for b in range(len(inner)):
        level = np.float32(source[b])
        inner[b] = level * _HIGH + level * _LOW
    target[:low] = target[low]
    target[high:] = target[high - 1]


@numba.njit(nogil=True, cache=True)
def _take(target: np.ndarray, source: np.ndarray, indices: np.ndarray) -> None:
    for b in range(len(target)):
        target[b] = source[indices[b]]


@numba.njit(nogil=True, cache=True)
def _scale_contrast(x: np.ndarray, factor: float) -> None:
    """Scale the distance of every cell from the segment's mean."""
    frames, bands = x.shape
    sums = np.zeros(bands, np.float32)
    for t in range(frames):
        line = x[t]
        for b in range(bands):
            sums[b] += line[b]
    mean = np.float32(sums.sum() / (frames * bands))
    for t in range(frames):
        line = x[t]
        for b in range(bands):
            line[b] = min(max((line[b] - mean) * factor + mean, np.float32(0)), np.float32(1))


@numba.njit(nogil=True, cache=True)
def _add_clipped(line: np.ndarray, offset: np.ndarray) -> None:
    for b in range(len(line)):
        line[b] = min(max(line[b] + offset[b], np.float32(0)), np.float32(1))


@numba.njit(nogil=True, cache=True)
def _mask(x: np.ndarray, time_masks: np.ndarray, band_masks: np.ndarray) -> None:
    """Replace frames and bands by the mean of each band."""
    frames, bands = x.shape
    mean = np.zeros(bands, np.float32)
    for t in range(frames):
        line = x[t]
        for b in range(bands):
            mean[b] += line[b]
    mean /= np.float32(frames)
    for m in range(len(time_masks)):
        for t in range(time_masks[m, 0], time_masks[m, 1]):
            x[t] = mean
    for m in range(len(band_masks)):
        low, high = band_masks[m]
        for t in range(frames):
            x[t, low:high] = mean[low:high]


@numba.njit(nogil=True, cache=True)
def _mixup(out: np.ndarray, weight: np.ndarray, partner: np.ndarray) -> None:
    """Mix segments with their partners, in place: ``weight * own + (1 - weight) * partner``."""
    # Follow the cycles of the permutation: a segment is overwritten right after it was read as a partner, while it is
    # still in the cache, and only the first segment of each cycle has to be copied.
    n, frames, bands = out.shape
    cells = out.reshape((n, frames * bands))
    first, done = np.empty(frames * bands, np.float32), np.zeros(n, np.bool_)
    for begin in range(n):
        if done[begin]:
            continue
        first[:] = cells[begin]
        i = begin
        while not done[i]:
            done[i] = True
            own, other = cells[i], first if partner[i] == begin else cells[partner[i]]
            own_weight, other_weight = weight[i], np.float32(1) - weight[i]
            for c in range(len(own)):
                own[c] = own_weight * own[c] + other_weight * other[c]
            i = partner[i]
