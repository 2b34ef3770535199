"""Segments as views into the feature store, and the batches a fit is fed with."""

from collections.abc import Sequence
from functools import cached_property

import numpy as np

from genreflow.errors import GenreflowError
from genreflow.features.segments import segment_starts
from genreflow.training.options import FitOptions

# Bands that hardly vary in training (above an old recording's bandwidth, say) would be blown up by standardisation and
# drown the others as soon as a track has something there: 0.02 of the range is 1.6 dB at 80.
SMALLEST_DEVIATION = 0.02


class SegmentSet:
    """The segments of some tracks, none of them copied before it is asked for.

    Parameters
    ----------
    pieces : sequence of np.ndarray [shape=(frames, n_mels), dtype=uint8]
        Stretches of base log-mel frames, memory-mapped or not; the n_mels of all are the same.
    labels : sequence of int >= 0 [shape=(n_pieces,)]
        Genre of each piece's track.
    track_index : sequence of int >= 0 [shape=(n_pieces,)]
        Track of each piece, counted from 0 without gaps; a long track has several pieces.
    length, hop : int > 0 [frames]
        Of a segment, and from one start to the next. A piece shorter than `length` is one segment, padded with 0.

    Attributes
    ----------
    piece, start, label, track : np.ndarray [shape=(n_segments,), dtype=int64]
        Of every segment, in the order of the pieces; `start` in frames within the piece.
    track_labels : np.ndarray [shape=(n_tracks,), dtype=int64]
    n_segments, n_tracks, n_mels : int

    Raises
    ------
    GenreflowError
        No pieces, arrays that do not fit together, or a track with two genres.
    """

    def __init__(
        self,
        pieces: Sequence[np.ndarray],
        labels: Sequence[int],
        track_index: Sequence[int],
        length: int,
        hop: int,
    ) -> None:
        labels, track_index = np.asarray(labels, "int64"), np.asarray(track_index, "int64")
        if not len(pieces) or not len(pieces) == len(labels) == len(track_index):
            raise GenreflowError(
                f"A segment set was given {len(pieces)} pieces, {len(labels)} labels and {len(track_index)} tracks; "
                "the same number of each, at least one, is right."
            )
        bands = {piece.shape[1] for piece in pieces}
        if len(bands) > 1 or any(piece.dtype != np.uint8 for piece in pieces):
            raise GenreflowError(f"Pieces are uint8 with one number of bands; these have {sorted(bands)}.")
        self.pieces, self.length, self.hop = list(pieces), length, hop
        self.n_mels, self.n_tracks = bands.pop(), int(track_index.max()) + 1
        self.track_labels = np.full(self.n_tracks, -1)
        self.track_labels[track_index] = labels
        if (self.track_labels[track_index] != labels).any() or (self.track_labels < 0).any():
            raise GenreflowError("A segment set was given a track with two labels, or one without any piece.")
        starts = [np.asarray(segment_starts(len(piece), length, hop), "int64") for piece in pieces]
        self.start = np.concatenate(starts)
        self.piece = np.repeat(np.arange(len(pieces)), [len(s) for s in starts])
        self.label, self.track = labels[self.piece], track_index[self.piece]
        self.n_segments = len(self.start)

    def segments(self, indices: Sequence[int] | slice) -> np.ndarray:
        """Some segments, as a model takes them.

        Returns
        -------
        np.ndarray [shape=(n, length, n_mels), dtype=float32, range=[0, 1]]
        """
        where = zip(self.piece[indices], self.start[indices], strict=True)
        return self._gather([(self.pieces[piece], start + np.arange(self.length)) for piece, start in where])

    def crops(self, indices: Sequence[int], rng: np.random.Generator, *, stretch: float = 0.0) -> np.ndarray:
        """As many segments from the same pieces, each starting anywhere.

        Parameters
        ----------
        indices : sequence of int
            Segments whose pieces are used, so that a long track has its share.
        rng : np.random.Generator
        stretch : float in [0, 1)
            Frames are read up to this share faster or slower, the nearest one each; not so fast that a piece that
            holds a segment ends before it does.
        """
        rows = []
        for p in self.piece[indices]:
            rate = 1 + rng.uniform(-stretch, stretch)
            span, size = 1 + round((self.length - 1) * rate), len(self.pieces[p])
            if self.length <= size < span:  # long enough for a segment, but not for one read so fast
                span, rate = size, (size - 1) / (self.length - 1)
            start = rng.integers(0, max(0, size - span) + 1)
            rows.append((self.pieces[p], start + np.rint(np.arange(self.length) * rate).astype("int64")))
        return self._gather(rows)

    def _gather(self, rows: Sequence[tuple[np.ndarray, np.ndarray]]) -> np.ndarray:
        out = np.zeros((len(rows), self.length, self.n_mels), "uint8")
        for target, (piece, frames) in zip(out, rows, strict=True):
            inside = int(np.searchsorted(frames, len(piece)))
            target[:inside] = piece[frames[:inside]]
        return np.divide(out, np.float32(255), dtype="float32")

    @cached_property
    def _moments(self) -> tuple[np.ndarray, np.ndarray]:
        # A histogram of each band is exact, needs one pass, and never more memory than one piece.
        counts = np.zeros((self.n_mels, 256), "int64")
        offset = 256 * np.arange(self.n_mels)
        for piece in self.pieces:
            counts += np.bincount((piece + offset).ravel(), minlength=256 * self.n_mels).reshape(-1, 256)
        levels = np.arange(256) / 255
        mean = counts @ levels / counts.sum(axis=1)
        return mean, counts @ levels**2 / counts.sum(axis=1) - mean**2

    def standardisation(self) -> tuple[np.ndarray, np.ndarray]:
        """Mean and variance of every band over all frames; ask the training set only.

        Returns
        -------
        mean, variance : np.ndarray [shape=(n_mels,), dtype=float64]
            Of values in [0, 1]; the variance is at least ``SMALLEST_DEVIATION ** 2``.
        """
        mean, variance = self._moments
        return mean.copy(), np.maximum(variance, SMALLEST_DEVIATION**2)


def training_batch(
    data: SegmentSet, indices: Sequence[int], rng: np.random.Generator, options: FitOptions, classes: int
) -> tuple[np.ndarray, np.ndarray]:
    """Segments cropped and augmented, with their labels as probabilities.

    Parameters
    ----------
    data : SegmentSet
    indices : sequence of int [shape=(n,)]
    rng : np.random.Generator
        The only source of chance: the same state gives the same batch.
    options : FitOptions
    classes : int >= 2

    Returns
    -------
    x : np.ndarray [shape=(n, length, n_mels), dtype=float32, range=[0, 1]]
    y : np.ndarray [shape=(n, classes), dtype=float32]
    """
    x = data.crops(indices, rng, stretch=options.stretch) if options.random_crop else data.segments(indices)
    y = np.eye(classes, dtype="float32")[data.label[indices]]
    augment(x, rng, options)
    if options.mixup:
        share = rng.beta(options.mixup, options.mixup, len(x)).astype("float32")
        share = np.maximum(share, 1 - share)[:, None]
        partner = rng.permutation(len(x))
        x = share[..., None] * x + (1 - share[..., None]) * x[partner]
        y = share * y + (1 - share) * y[partner]
    return x, y


def augment(x: np.ndarray, rng: np.random.Generator, options: FitOptions) -> None:
    """Change level, place, register and gaps of segments, in place.

    Blanks are filled with each band's mean over the segment (SpecAugment, Park et al. 2019, fills with the mean as
    well): silence would be news to the model, the mean is none.

    Parameters
    ----------
    x : np.ndarray [shape=(n, frames, n_mels), dtype=float32, range=[0, 1]]
    """
    n, frames, bands = x.shape
    if options.band_shift:
        for segment, shift in zip(x, rng.integers(-options.band_shift, options.band_shift + 1, n), strict=True):
            # The band that moves in from outside repeats the last one.
            segment[:] = segment[:, np.clip(np.arange(bands) - shift, 0, bands - 1)]
    if options.translation or options.zoom:
        for segment in x:
            rows, columns = (_warped(size, rng, options.translation, options.zoom) for size in (frames, bands))
            segment[:] = segment[rows][:, columns]
    if options.contrast:
        mean = x.mean(axis=(1, 2), keepdims=True)
        x -= mean
        x *= rng.uniform(1 - options.contrast, 1 + options.contrast, (n, 1, 1)).astype("float32")
        x += mean
        np.clip(x, 0, 1, out=x)
    if options.noise:
        x += options.noise * rng.standard_normal(x.shape, dtype="float32")
        np.clip(x, 0, 1, out=x)
    if options.gain:
        x += rng.uniform(-options.gain, options.gain, (n, 1, 1)).astype("float32")
        np.clip(x, 0, 1, out=x)
    mean = x.mean(axis=1) if options.time_masks or options.band_masks else None
    for _ in range(options.time_masks):
        for i, (low, high) in enumerate(_spans(rng, n, frames, options.time_mask_width)):
            x[i, low:high] = mean[i]
    for _ in range(options.band_masks):
        for i, (low, high) in enumerate(_spans(rng, n, bands, options.band_mask_width)):
            x[i, :, low:high] = mean[i, low:high]


def _warped(size: int, rng: np.random.Generator, translation: float, zoom: float) -> np.ndarray:
    """Where each cell of an axis is read from once that is zoomed about its middle and shifted; the ends repeat."""
    middle = (size - 1) / 2
    scale, shift = 1 + rng.uniform(-zoom, zoom), size * rng.uniform(-translation, translation)
    return np.clip(np.rint((np.arange(size) - middle) * scale + middle + shift), 0, size - 1).astype("int64")


def _spans(rng: np.random.Generator, n: int, size: int, share: float) -> np.ndarray:
    """`n` stretches [low, high) of an axis, each at most `share` of it long."""
    width = rng.integers(0, round(share * size) + 1, n)
    low = rng.integers(0, size - width + 1)
    return np.stack([low, low + width], axis=1)
