"""Random augmentation parameters of a batch, drawn for all its segments at once."""

from dataclasses import dataclass
from functools import cache

import numpy as np

from genreflow.training.options import FitOptions

# Knots of the equaliser's curve, evenly spaced over the bands.
EQUALISER_KNOTS = 6
_NO_NOISE = np.zeros((0, 0, 0), "float32")


@dataclass(frozen=True)
class Augmentation:
    """Augmentation parameters of `n` segments, applied in this order.

    Parameters
    ----------
    band_shift : np.ndarray [shape=(n,), dtype=int64]
        Bands by which the segment moves up; the outermost band is repeated.
    source_bands : np.ndarray [shape=(n, n_mels), dtype=uint64] or [shape=(n, 0)]
        Band that each band is then read from; with no columns, bands are not resampled.
    contrast : np.ndarray [shape=(n,), dtype=float32]
        Factor of each cell's distance from the segment's mean; 1 is none.
    noise : np.ndarray [shape=(n, frames, n_mels) or (0, 0, 0), dtype=float32]
        Added to each cell.
    level_offset : np.ndarray [shape=(n, n_mels) or (n, 0), dtype=float32]
        Added to each cell of a band: gain and equaliser.
    time_masks, band_masks : np.ndarray [shape=(n, masks, 2), dtype=int64]
        Half-open ranges of masked frames and bands.
    mixup_weight : np.ndarray [shape=(n,), dtype=float32, range=[0.5, 1]]
        Weight of the segment itself in its mixture; the partner has the rest.
    mixup_partner : np.ndarray [shape=(n,), dtype=int64]
        Index of the partner in the batch, a permutation.
    """

    band_shift: np.ndarray
    source_bands: np.ndarray
    contrast: np.ndarray
    noise: np.ndarray
    level_offset: np.ndarray
    time_masks: np.ndarray
    band_masks: np.ndarray
    mixup_weight: np.ndarray
    mixup_partner: np.ndarray


def draw_augmentation(
    rng: np.random.Generator, options: FitOptions, rows: np.ndarray, bands: int
) -> tuple[np.ndarray, Augmentation]:
    """Draw the augmentation of a batch.

    Parameters
    ----------
    rng : np.random.Generator
    options : FitOptions
        Which augmentations, and how strong.
    rows : np.ndarray [shape=(n, frames), dtype=int64]
        Frames of each segment within its piece.
    bands : int > 0
        Mel bands.

    Returns
    -------
    rows : np.ndarray [shape=(n, frames), dtype=int64]
        The frames to read after translation and zoom.
    augmentation : Augmentation
    """
    n, frames = rows.shape
    band_shift, source_bands = np.zeros(n, "int64"), np.zeros((n, 0), "uint64")
    if options.band_shift:
        largest = min(options.band_shift, bands - 1)
        band_shift = rng.integers(-largest, largest + 1, size=(n,))
    if options.translation or options.zoom:
        rows = np.take_along_axis(rows, _resampled(n, frames, rng, options), axis=1)
        source_bands = _resampled(n, bands, rng, options).astype("uint64")
    contrast = np.ones(n, "float32")
    if options.contrast:
        contrast = rng.uniform(1 - options.contrast, 1 + options.contrast, size=(n,)).astype("float32")
    noise = _NO_NOISE
    if options.noise:
        noise = rng.standard_normal((n, frames, bands), dtype="float32")
        noise *= np.float32(options.noise)
    level_offset = np.zeros((n, bands if options.gain or options.equaliser else 0), "float32")
    if options.gain:
        level_offset += rng.uniform(-options.gain, options.gain, (n, 1))
    if options.equaliser:
        knots = rng.uniform(-options.equaliser, options.equaliser, (n, EQUALISER_KNOTS))
        level_offset += knots @ _interpolation_weights(bands)
    time_masks = _masks(rng, n, frames, options.time_masks, options.time_mask_width)
    band_masks = _masks(rng, n, bands, options.band_masks, options.band_mask_width)
    mixup_weight, mixup_partner = draw_mixup(rng, options, n)
    return rows, Augmentation(
        band_shift=band_shift,
        source_bands=source_bands,
        contrast=contrast,
        noise=noise,
        level_offset=level_offset,
        time_masks=time_masks,
        band_masks=band_masks,
        mixup_weight=mixup_weight,
        mixup_partner=mixup_partner,
    )


def draw_mixup(rng: np.random.Generator, options: FitOptions, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Draw weights and partners of mixup (Zhang et al. 2018), as `Augmentation` has them; without it each is alone."""
    if not options.mixup:
        return np.ones(n, "float32"), np.arange(n)
    drawn = rng.beta(options.mixup, options.mixup, size=(n,)).astype("float32")
    return np.maximum(drawn, 1 - drawn), rng.permutation(n)


def mixed_labels(labels: np.ndarray, classes: int, weight: np.ndarray, partner: np.ndarray) -> np.ndarray:
    """Return labels as probabilities [shape=(n, classes), dtype=float32], mixed as `draw_mixup` drew it."""
    y = np.eye(classes, dtype="float32")[labels]
    return weight[:, None] * y + (1 - weight[:, None]) * y[partner]


def _resampled(n: int, size: int, rng: np.random.Generator, options: FitOptions) -> np.ndarray:
    """Indices that zoom an axis about its centre and translate it [shape=(n, size)]; the ends are repeated."""
    centre = (size - 1) / 2
    scale = 1 + rng.uniform(-options.zoom, options.zoom, (n, 1))
    shift = size * rng.uniform(-options.translation, options.translation, (n, 1))
    positions: np.ndarray = (np.arange(size) - centre) * scale + centre + shift
    return np.clip(np.rint(positions), 0, size - 1).astype("int64")


@cache
def _interpolation_weights(bands: int) -> np.ndarray:
    """Weights of linear interpolation between the equaliser's knots [shape=(EQUALISER_KNOTS, bands)]."""
    position = np.linspace(0, EQUALISER_KNOTS - 1, bands)
    return np.maximum(0, 1 - np.abs(position - np.arange(EQUALISER_KNOTS)[:, None])).astype("float32")


def _masks(rng: np.random.Generator, n: int, size: int, masks: int, max_share: float) -> np.ndarray:
    """Half-open ranges of an axis [shape=(n, masks, 2)], each at most `max_share` of it wide."""
    width = rng.integers(0, round(max_share * size) + 1, (n, masks))
    low = rng.integers(0, size - width + 1)
    return np.stack([low, low + width], axis=-1)
