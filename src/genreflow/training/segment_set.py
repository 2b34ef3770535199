"""The segments of a set of tracks, read from the feature store when they are needed."""

from collections.abc import Sequence
from functools import cached_property

import numpy as np

from genreflow.errors import GenreflowError
from genreflow.features.segments import segment_starts
from genreflow.training.augment import draw_augmentation, mixed_labels
from genreflow.training.kernels import read_augmented_segments, read_segments, typed_list
from genreflow.training.labelled_segments import LabelledSegments
from genreflow.training.options import FitOptions

# Lower bound of a band's standard deviation; 0.02 of the range is 1.6 dB where it covers 80 dB. A band that hardly
# varies in training, such as one above the bandwidth of old recordings, would otherwise be scaled up so far that it
# drowns the others as soon as a track has energy there.
MIN_DEVIATION = 0.02


class SegmentSet(LabelledSegments):
    """The segments of a set of tracks; frames are read only when segments are asked for.

    Parameters
    ----------
    pieces : sequence of np.ndarray [shape=(frames, n_mels), dtype=uint8]
        Base log-mel frames, memory-mapped or in memory; all with the same n_mels. Segments never span two pieces.
    labels : sequence of int >= 0 [shape=(n_pieces,)]
        Genre of each piece's track.
    track_index : sequence of int >= 0 [shape=(n_pieces,)]
        Track of each piece, numbered from 0 without gaps; a long track has several pieces.
    length, hop : int > 0 [frames]
        Length of a segment, and distance between the starts of two. A piece shorter than `length` is one segment,
        padded with 0.
    track_cap : float >= 1 or None
        Limits what one track contributes to a pass over the segments, see `limit_per_track`; each pass draws others.
        Validation and test sets have no limit: their scores are means over tracks.

    Attributes
    ----------
    piece, start : np.ndarray [shape=(n_segments,), dtype=int64]
        Of each segment, in the order of the pieces; `start` in frames within the piece.
    n_mels : int > 0

    Raises
    ------
    GenreflowError
        No pieces, arguments of different lengths, pieces of another type or of different n_mels, or a track with two
        labels or none.
    ParameterError
        `length` or `hop` is not positive.
    """

    def __init__(
        self,
        pieces: Sequence[np.ndarray],
        labels: Sequence[int] | np.ndarray,
        track_index: Sequence[int] | np.ndarray,
        length: int,
        hop: int,
        *,
        track_cap: float | None = None,
    ) -> None:
        piece_labels, piece_tracks = np.asarray(labels, "int64"), np.asarray(track_index, "int64")
        if not len(pieces) or not len(pieces) == len(piece_labels) == len(piece_tracks):
            raise GenreflowError(
                "SegmentSet: pieces, labels and track_index must have the same length, at least 1; got "
                f"{len(pieces)}, {len(piece_labels)} and {len(piece_tracks)}."
            )
        n_mels = {piece.shape[1] for piece in pieces}
        if len(n_mels) > 1 or any(piece.dtype != np.uint8 for piece in pieces):
            dtypes = {str(piece.dtype) for piece in pieces}
            raise GenreflowError(
                "SegmentSet: pieces must be uint8 arrays with the same number of bands; got "
                f"{', '.join(sorted(dtypes))} with {sorted(n_mels)} bands."
            )
        self.length, self.hop = length, hop
        self.pieces = [np.ascontiguousarray(piece) for piece in pieces]  # no copy of the contiguous pieces of a store
        self._typed_pieces = typed_list(self.pieces)
        self._sizes = np.array([len(piece) for piece in self.pieces], "int64")
        self.n_mels = n_mels.pop()
        starts = [np.asarray(segment_starts(len(piece), length, hop), "int64") for piece in pieces]
        self.start = np.concatenate(starts)
        self.piece = np.repeat(np.arange(len(pieces)), [len(s) for s in starts])
        self._piece_tracks = piece_tracks
        super().__init__(piece_labels[self.piece], piece_tracks[self.piece], track_cap=track_cap)

    @property
    def segment_shape(self) -> tuple[int, int]:
        """Shape of a segment: length and n_mels."""
        return self.length, self.n_mels

    def segments(self, indices: Sequence[int] | np.ndarray | slice) -> np.ndarray:
        """Read segments as model input.

        Parameters
        ----------
        indices : sequence of int [shape=(n,)] or slice

        Returns
        -------
        np.ndarray [shape=(n, length, n_mels), dtype=float32, range=[0, 1]]
        """
        rows = self.start[indices, None] + np.arange(self.length)
        out = np.empty((*rows.shape, self.n_mels), "float32")
        read_segments(out, self._typed_pieces, self.piece[indices], rows)
        return out

    def random_crops(
        self, indices: Sequence[int] | np.ndarray, rng: np.random.Generator, *, stretch: float = 0.0
    ) -> np.ndarray:
        """Draw segments that start anywhere in the pieces of the given ones.

        Parameters
        ----------
        indices : sequence of int [shape=(n,)]
            Segments whose pieces are cropped, so that a track is drawn in proportion to its length.
        rng : np.random.Generator
        stretch : float in [0, 1)
            Largest change of tempo, as a share; the nearest frame is taken. It is limited where a piece that holds a
            whole segment would end before the stretched one.

        Returns
        -------
        np.ndarray [shape=(n, length), dtype=int64]
            Frames within each piece. Frames past the end of a piece are read as 0.
        """
        size = self._sizes[self.piece[indices]]
        rate = 1 + rng.uniform(-stretch, stretch, size=(len(size),))
        span = 1 + np.rint((self.length - 1) * rate).astype("int64")
        limited = (self.length <= size) & (size < span)
        span = np.where(limited, size, span)
        rate = np.where(limited, (size - 1) / max(1, self.length - 1), rate)
        start = rng.integers(0, np.maximum(0, size - span) + 1)
        return start[:, None] + np.rint(np.arange(self.length) * rate[:, None]).astype("int64")

    @cached_property
    def _moments(self) -> tuple[np.ndarray, np.ndarray]:
        # A histogram of each band is exact, takes one pass, and needs the memory of one piece.
        counts = np.zeros((self.n_mels, 256))
        offset = 256 * np.arange(self.n_mels)
        weights = self.track_weights[self._piece_tracks]
        for piece, weight in zip(self.pieces, weights, strict=True):
            counts += weight * np.bincount((piece + offset).ravel(), minlength=256 * self.n_mels).reshape(-1, 256)
        levels = np.arange(256) / 255
        mean = counts @ levels / counts.sum(axis=1)
        return mean, counts @ levels**2 / counts.sum(axis=1) - mean**2

    def band_statistics(self) -> tuple[np.ndarray, np.ndarray]:
        """Mean and variance of each band; use those of the training set only.

        They are those of all frames, where a track counts as much as it contributes to a pass.

        Returns
        -------
        mean, variance : np.ndarray [shape=(n_mels,), dtype=float64]
            Of levels in [0, 1]; the variance is at least ``MIN_DEVIATION ** 2``.
        """
        mean, variance = self._moments
        return mean.copy(), np.maximum(variance, MIN_DEVIATION**2)

    def mean_peak(self) -> float:
        """Mean level of the loudest cell of a track; use that of the training set only [range=[0, 1]]."""
        peaks = np.zeros(self.n_tracks)
        np.maximum.at(peaks, self._piece_tracks, [piece.max(initial=0) / 255 for piece in self.pieces])
        return float(peaks.mean())

    def augmented_batch(
        self,
        indices: Sequence[int] | np.ndarray,
        rng: np.random.Generator,
        options: FitOptions,
        classes: int,
        *,
        out: np.ndarray | None = None,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Read segments, crop and augment them, with their labels as probabilities.

        Parameters
        ----------
        indices : sequence of int [shape=(n,)]
        rng : np.random.Generator
            The only source of randomness: the same state gives the same batch.
        options : FitOptions
        classes : int >= 2
        out : np.ndarray [shape=(n, length, n_mels), dtype=float32], optional
            Array to write the segments to; a new one by default.

        Returns
        -------
        x : np.ndarray [shape=(n, length, n_mels), dtype=float32, range=[0, 1]]
        y : np.ndarray [shape=(n, classes), dtype=float32]
        """
        piece = self.piece[indices]
        if options.random_crop:
            rows = self.random_crops(indices, rng, stretch=options.stretch)
        else:
            rows = self.start[indices, None] + np.arange(self.length)
        rows, augmentation = draw_augmentation(rng, options, rows, self.n_mels)
        x = np.empty((*rows.shape, self.n_mels), "float32") if out is None else out
        read_augmented_segments(x, self._typed_pieces, piece, rows, augmentation)
        weight, partner = augmentation.mixup_weight, augmentation.mixup_partner
        return x, mixed_labels(self.label[indices], classes, weight, partner)
