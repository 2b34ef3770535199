"""Augmentation: what chance does to each segment of a batch, and the loops that do it.

Chance is drawn for a whole batch at once; the loops then go over every cell a single time, compiled and without the
lock of Python, so that a batch is made beside the updates that the batches before it feed. Step by step in NumPy, a
batch took four times as long or more, which the smallest nets noticed.
"""

from dataclasses import dataclass
from functools import cache

import numba
import numpy as np
from numba.core import types
from numba.extending import intrinsic

from genreflow.training.options import FitOptions

# Registers that the equaliser raises or lowers, evenly over the bands.
EQUALISER_KNOTS = 6
# v / 255 is v * _HIGH + v * _LOW to the last bit for every byte v, in a third of the time of a division.
_HIGH = np.float32(round(2**23 / 255) / 2**23)
_LOW = np.float32(1 / 255 - float(_HIGH))
_NO_NOISE = np.zeros((0, 0, 0), "float32")


@dataclass(frozen=True)
class Changes:
    """What is done to each of `n` segments, in this order.

    Parameters
    ----------
    shift : np.ndarray [shape=(n,), dtype=int64]
        Bands by which everything moves up; the band that moves in from outside repeats the last one.
    columns : np.ndarray [shape=(n, n_mels), dtype=uint64] or [shape=(n, 0)]
        The band from which each band is then read; without any, they stay as they are.
    contrast : np.ndarray [shape=(n,), dtype=float32]
        Factor of every cell's distance from the segment's mean; 1 leaves it.
    noise : np.ndarray [shape=(n, frames, n_mels) or (0, 0, 0), dtype=float32]
        Added to every cell.
    level : np.ndarray [shape=(n, n_mels) or (n, 0), dtype=float32]
        Added to every cell of a band: gain and equaliser.
    frame_masks, band_masks : np.ndarray [shape=(n, masks, 2), dtype=int64]
        Stretches [low, high) of frames and of bands that are blanked.
    share : np.ndarray [shape=(n,), dtype=float32, range=[0.5, 1]]
        Of the segment itself in the mixture with its partner.
    partner : np.ndarray [shape=(n,), dtype=int64]
        The other segment of the mixture, by its place in the batch.
    """

    shift: np.ndarray
    columns: np.ndarray
    contrast: np.ndarray
    noise: np.ndarray
    level: np.ndarray
    frame_masks: np.ndarray
    band_masks: np.ndarray
    share: np.ndarray
    partner: np.ndarray


def draw(rng: np.random.Generator, options: FitOptions, rows: np.ndarray, bands: int) -> tuple[np.ndarray, Changes]:
    """Draw the changes of a batch.

    Parameters
    ----------
    rng : np.random.Generator
    options : FitOptions
    rows : np.ndarray [shape=(n, frames), dtype=int64]
        The frames of each segment within its piece.
    bands : int > 0

    Returns
    -------
    rows : np.ndarray [shape=(n, frames), dtype=int64]
        The frames to read instead, translated and zoomed.
    changes : Changes
    """
    n, frames = rows.shape
    shift, columns = np.zeros(n, "int64"), np.zeros((n, 0), "uint64")
    if options.band_shift:
        most = min(options.band_shift, bands - 1)
        shift = rng.integers(-most, most + 1, n)
    if options.translation or options.zoom:
        rows = np.take_along_axis(rows, _warped(n, frames, rng, options), axis=1)
        columns = _warped(n, bands, rng, options).astype("uint64")
    contrast = noise = None
    if options.contrast:
        contrast = rng.uniform(1 - options.contrast, 1 + options.contrast, n).astype("float32")
    if options.noise:
        noise = rng.standard_normal((n, frames, bands), dtype="float32")
        noise *= np.float32(options.noise)
    level = np.zeros((n, bands if options.gain or options.equaliser else 0), "float32")
    if options.gain:
        level += rng.uniform(-options.gain, options.gain, (n, 1))
    if options.equaliser:
        knots = rng.uniform(-options.equaliser, options.equaliser, (n, EQUALISER_KNOTS))
        level += knots @ _between_knots(bands)
    frame_masks = _spans(rng, n, frames, options.time_masks, options.time_mask_width)
    band_masks = _spans(rng, n, bands, options.band_masks, options.band_mask_width)
    share, partner = np.ones(n, "float32"), np.arange(n)
    if options.mixup:
        share = rng.beta(options.mixup, options.mixup, n).astype("float32")
        share, partner = np.maximum(share, 1 - share), rng.permutation(n)
    return rows, Changes(
        shift=shift,
        columns=columns,
        contrast=np.ones(n, "float32") if contrast is None else contrast,
        noise=_NO_NOISE if noise is None else noise,
        level=level,
        frame_masks=frame_masks,
        band_masks=band_masks,
        share=share,
        partner=partner,
    )


def _warped(n: int, size: int, rng: np.random.Generator, options: FitOptions) -> np.ndarray:
    """Where each cell of an axis is read from once that is zoomed about its middle and shifted; the ends repeat."""
    middle = (size - 1) / 2
    scale = 1 + rng.uniform(-options.zoom, options.zoom, (n, 1))
    shift = size * rng.uniform(-options.translation, options.translation, (n, 1))
    return np.clip(np.rint((np.arange(size) - middle) * scale + middle + shift), 0, size - 1).astype("int64")


@cache
def _between_knots(bands: int) -> np.ndarray:
    """Weights of each knot for each band [shape=(EQUALISER_KNOTS, bands)]: straight lines from knot to knot."""
    place = np.linspace(0, EQUALISER_KNOTS - 1, bands)
    return np.maximum(0, 1 - np.abs(place - np.arange(EQUALISER_KNOTS)[:, None])).astype("float32")


def _spans(rng: np.random.Generator, n: int, size: int, masks: int, share: float) -> np.ndarray:
    """For each of `n` segments `masks` stretches [low, high) of an axis, each at most `share` of it long."""
    width = rng.integers(0, round(share * size) + 1, (n, masks))
    low = rng.integers(0, size - width + 1)
    return np.stack([low, low + width], axis=-1)


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
    # Frame by frame, so that nothing has to be kept of what was there before but one frame of each segment.
    n, frames, bands = out.shape
    before = np.empty((n, bands), np.float32)
    for t in range(frames):
        for i in range(n):
            before[i] = out[i, t]
        for i in range(n):
            own, other, target = before[i], before[partner[i]], out[i, t]
            mine, rest = share[i], np.float32(1) - share[i]
            for b in range(bands):
                target[b] = mine * own[b] + rest * other[b]
