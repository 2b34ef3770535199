"""Augmentation: what chance does to each segment of a batch, drawn for all of them at once."""

from dataclasses import dataclass
from functools import cache

import numpy as np

from genreflow.training.options import FitOptions

# Registers that the equaliser raises or lowers, evenly over the bands.
EQUALISER_KNOTS = 6
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
