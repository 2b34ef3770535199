"""Segments as views into the feature store, and the batches a fit is fed with."""

from collections.abc import Sequence
from functools import cached_property

import numpy as np

from genreflow.errors import GenreflowError
from genreflow.features.segments import segment_starts
from genreflow.training.augment import draw
from genreflow.training.kernels import fill, fill_changed
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
        self.length, self.hop = length, hop
        self.pieces = [np.ascontiguousarray(piece) for piece in pieces]  # views, where they are contiguous
        self._addresses = np.array([piece.ctypes.data for piece in self.pieces], "int64")
        self._sizes = np.array([len(piece) for piece in self.pieces], "int64")
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
        piece, rows = self.piece[indices], self.start[indices, None] + np.arange(self.length)
        out = np.empty((*rows.shape, self.n_mels), "float32")
        fill(out, self._addresses[piece], self._sizes[piece], rows)
        return out

    def crops(self, indices: Sequence[int], rng: np.random.Generator, *, stretch: float = 0.0) -> np.ndarray:
        """Frames of as many segments of the same pieces, each starting anywhere.

        Parameters
        ----------
        indices : sequence of int [shape=(n,)]
            Segments whose pieces are used, so that a long track has its share.
        rng : np.random.Generator
        stretch : float in [0, 1)
            Frames are read up to this share faster or slower, the nearest one each; not so fast that a piece that
            holds a segment ends before it does.

        Returns
        -------
        np.ndarray [shape=(n, length), dtype=int64]
            Frames within each one's piece; at its end and behind it there is none, and a segment is padded.
        """
        size = self._sizes[self.piece[indices]]
        rate = 1 + rng.uniform(-stretch, stretch, len(size))
        span = 1 + np.rint((self.length - 1) * rate).astype("int64")
        # Long enough for a segment, but not for one read so fast.
        short = (self.length <= size) & (size < span)
        span = np.where(short, size, span)
        rate = np.where(short, (size - 1) / max(1, self.length - 1), rate)
        start = rng.integers(0, np.maximum(0, size - span) + 1)
        return start[:, None] + np.rint(np.arange(self.length) * rate[:, None]).astype("int64")

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

    def batch(
        self,
        indices: Sequence[int],
        rng: np.random.Generator,
        options: FitOptions,
        classes: int,
        *,
        out: np.ndarray | None = None,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Segments cropped and augmented, with their labels as probabilities.

        Parameters
        ----------
        indices : sequence of int [shape=(n,)]
        rng : np.random.Generator
            The only source of chance: the same state gives the same batch.
        options : FitOptions
        classes : int >= 2
        out : np.ndarray [shape=(n, length, n_mels), dtype=float32], optional
            Where the segments go; a new array by default.

        Returns
        -------
        x : np.ndarray [shape=(n, length, n_mels), dtype=float32, range=[0, 1]]
        y : np.ndarray [shape=(n, classes), dtype=float32]
        """
        piece = self.piece[indices]
        if options.random_crop:
            rows = self.crops(indices, rng, stretch=options.stretch)
        else:
            rows = self.start[indices, None] + np.arange(self.length)
        rows, changes = draw(rng, options, rows, self.n_mels)
        x = np.empty((*rows.shape, self.n_mels), "float32") if out is None else out
        fill_changed(x, self._addresses[piece], self._sizes[piece], rows, changes)
        y = np.eye(classes, dtype="float32")[self.label[indices]]
        share = changes.share[:, None]
        return x, share * y + (1 - share) * y[changes.partner]
