"""Reading and changing segments, in compiled loops that go over every cell once and hold no lock of Python.

So a batch is made beside the updates that the batches before it feed. Step by step in NumPy, a batch took four times as
long or more, which the smallest nets noticed.
"""

import numba
import numpy as np
from numba.core import types
from numba.extending import intrinsic

from genreflow.training.augment import Changes

# v / 255 is v * _HIGH + v * _LOW to the last bit for every byte v, in a third of the time of a division.
_HIGH = np.float32(round(2**23 / 255) / 2**23)
_LOW = np.float32(1 / 255 - float(_HIGH))


def fill(out: np.ndarray, addresses: np.ndarray, sizes: np.ndarray, rows: np.ndarray) -> None:
    """Read segments out of their pieces.

    Parameters
    ----------
    out : np.ndarray [shape=(n, frames, n_mels), dtype=float32]
        Is overwritten, with values in [0, 1].
    addresses, sizes : np.ndarray [shape=(n,), dtype=int64]
        Where in memory each segment's piece of contiguous uint8 (frames, n_mels) begins, and its frames.
    rows : np.ndarray [shape=(n, frames), dtype=int64]
        Frames to read, >= 0; those past the end of the piece are 0.
    """
    _fill(out, addresses, sizes, rows)


def fill_changed(out: np.ndarray, addresses: np.ndarray, sizes: np.ndarray, rows: np.ndarray, changes: Changes) -> None:
    """Read segments out of their pieces, as `fill` does, and change level, place, register and gaps of them.

    Blanks are filled with each band's mean over the segment (SpecAugment, Park et al. 2019, fills with the mean as
    well): silence would be news to the model, the mean is none.
    """
    _fill_changed(
        out,
        addresses,
        sizes,
        rows,
        changes.shift,
        changes.columns,
        changes.contrast,
        changes.noise,
        changes.level,
        changes.frame_masks,
        changes.band_masks,
    )
    if (changes.share != 1).any():
        _mix(out, changes.share, changes.partner)


# The loops below take slices before they index: a plain loop over one axis is what the compiler turns into vector
# instructions. Indices that are read from arrays are unsigned, or each would be tested for counting from the end.


@intrinsic
def _pointer(typingctx, address):
    """An address as a pointer to bytes, which Numba has no word for."""

    def codegen(context, builder, signature, args):
        return builder.inttoptr(args[0], context.get_value_type(signature.return_type))

    return types.CPointer(types.uint8)(types.int64), codegen


@numba.njit(nogil=True, cache=True)
def _fill(out, addresses, sizes, rows):
    n, frames, bands = out.shape
    for i in range(n):
        piece = numba.carray(_pointer(addresses[i]), (sizes[i], bands))
        for t in range(frames):
            _copy(out[i, t], piece, rows[i, t], 0)


@numba.njit(nogil=True, cache=True)
def _fill_changed(out, addresses, sizes, rows, shift, columns, contrast, noise, level, frame_masks, band_masks):
    n, frames, bands = out.shape
    line = np.empty(bands, np.float32)
    for i in range(n):
        x = out[i]
        piece = numba.carray(_pointer(addresses[i]), (sizes[i], bands))
        for t in range(frames):
            _copy(x[t], piece, rows[i, t], shift[i])
            if columns.shape[1]:
                line[:] = x[t]
                _pick(x[t], line, columns[i])
        if contrast[i] != np.float32(1):
            _spread(x, contrast[i])
        if noise.size:
            for t in range(frames):
                _add(x[t], noise[i, t])
        if level.shape[1]:
            for t in range(frames):
                _add(x[t], level[i])
        if frame_masks.shape[1] + band_masks.shape[1]:
            _blank(x, frame_masks[i], band_masks[i])


@numba.njit(nogil=True, cache=True)
def _copy(target, piece, row, shift):
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
def _pick(target, line, columns):
    for b in range(len(target)):
        target[b] = line[columns[b]]


@numba.njit(nogil=True, cache=True)
def _spread(x, factor):
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
def _add(line, more):
    for b in range(len(line)):
        line[b] = min(max(line[b] + more[b], np.float32(0)), np.float32(1))


@numba.njit(nogil=True, cache=True)
def _blank(x, frame_masks, band_masks):
    frames, bands = x.shape
    mean = np.zeros(bands, np.float32)
    for t in range(frames):
        line = x[t]
        for b in range(bands):
            mean[b] += line[b]
    mean /= np.float32(frames)
    for m in range(len(frame_masks)):
        for t in range(frame_masks[m, 0], frame_masks[m, 1]):
            x[t] = mean
    for m in range(len(band_masks)):
        low, high = band_masks[m]
        for t in range(frames):
            x[t, low:high] = mean[low:high]


@numba.njit(nogil=True, cache=True)
def _mix(out, share, partner):
    # Along the cycles of the permutation: a segment is mixed with one that is changed next, while that is still near,
    # and only the first of each cycle has to be kept.
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
            mine, rest = share[i], np.float32(1) - share[i]
            for c in range(len(own)):
                own[c] = mine * own[c] + rest * other[c]
            i = partner[i]
