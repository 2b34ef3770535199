"""What all sets of segments have in common: labels, tracks, and which segments an epoch contains."""

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from genreflow.errors import GenreflowError
from genreflow.features.segments import limit_per_track
from genreflow.training.options import FitOptions


class LabelledSegments:
    """Labels and tracks of segments.

    Parameters
    ----------
    label : np.ndarray [shape=(n_segments,), dtype=int64]
        Genre of each segment.
    track : np.ndarray [shape=(n_segments,), dtype=int64]
        Track of each segment, numbered from 0 without gaps.
    track_cap : float >= 1 or None
        Limits what one track contributes to a pass over the segments, see `limit_per_track`; each pass draws others.
        Validation and test sets have no limit: their scores are means over tracks.

    Attributes
    ----------
    track_labels : np.ndarray [shape=(n_tracks,), dtype=int64]
    drawn_per_track : np.ndarray [shape=(n_tracks,), dtype=int64]
        Segments of each track in a pass.
    n_segments, n_drawn, n_tracks : int > 0
        `n_drawn` is the number of segments in a pass.

    Raises
    ------
    GenreflowError
        A track has no segment, or segments with different labels.
    """

    def __init__(self, label: np.ndarray, track: np.ndarray, *, track_cap: float | None) -> None:
        self.label, self.track = label, track
        self.n_segments, self.n_tracks = len(track), int(track.max()) + 1
        self.track_labels = np.full(self.n_tracks, -1)
        self.track_labels[track] = label
        if (self.track_labels[track] != label).any() or (self.track_labels < 0).any():
            raise GenreflowError(
                f"{type(self).__name__}: each track must have at least one segment, and one label for all its segments."
            )
        self._per_track = np.bincount(track, minlength=self.n_tracks)
        self.drawn_per_track = limit_per_track(self._per_track, track_cap)
        self.n_drawn = int(self.drawn_per_track.sum())

    def draw(self, rng: np.random.Generator) -> np.ndarray:
        """Draw the segments of one pass, in random order.

        Parameters
        ----------
        rng : np.random.Generator

        Returns
        -------
        np.ndarray [shape=(n_drawn,), dtype=int64]
            All segments, or of each track as many as ``drawn_per_track`` has, without repetition. In many passes, all
            segments of a track are drawn equally often.
        """
        order = rng.permutation(self.n_segments)
        if self.n_drawn == self.n_segments:
            return order
        # The first so many of each track in the random order.
        track = self.track[order]
        rank = np.empty_like(order)
        first = np.repeat(np.cumsum(self._per_track) - self._per_track, self._per_track)
        rank[np.argsort(track, kind="stable")] = np.arange(self.n_segments) - first
        return order[rank < self.drawn_per_track[track]]

    @property
    def track_weights(self) -> np.ndarray:
        """Share of each track's segments that a pass contains [shape=(n_tracks,), range=(0, 1]]."""
        return self.drawn_per_track / self._per_track


class TrainableSegments(Protocol):
    """What a fit needs of a set of segments: `SegmentSet` or `genreflow.training.embedding_set.EmbeddingSet`."""

    label: np.ndarray
    track: np.ndarray
    track_labels: np.ndarray
    drawn_per_track: np.ndarray
    n_segments: int
    n_drawn: int
    n_tracks: int

    @property
    def segment_shape(self) -> tuple[int, ...]:
        """Shape of a segment as a model takes it."""
        ...

    def draw(self, rng: np.random.Generator) -> np.ndarray:
        """Draw the segments of one pass."""
        ...

    def segments(self, indices: Sequence[int] | np.ndarray | slice) -> np.ndarray:
        """Read segments as model input."""
        ...

    def band_statistics(self) -> tuple[np.ndarray, np.ndarray]:
        """Return mean and variance of the values along the last axis."""
        ...

    def augmented_batch(
        self,
        indices: Sequence[int] | np.ndarray,
        rng: np.random.Generator,
        options: FitOptions,
        classes: int,
        *,
        out: np.ndarray | None = None,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Read and augment segments, with their labels as probabilities."""
        ...
