"""Means over the segments of each track."""

from collections.abc import Callable

import numpy as np

from genreflow.training.labelled_segments import TrainableSegments

# Segments per call of the network: it bounds the memory.
BATCH = 64


def mean_over_segments(compute: Callable[[np.ndarray], np.ndarray], segments: TrainableSegments) -> np.ndarray:
    """Average the values of segments over each track.

    Parameters
    ----------
    compute : callable
        From segments as a model takes them to their values [shape=(n, n_features)], such as ``predict_on_batch``.
    segments : SegmentSet or EmbeddingSet

    Returns
    -------
    np.ndarray [shape=(n_tracks, n_features), dtype=float64]
    """
    total = np.zeros(0)
    for first in range(0, segments.n_segments, BATCH):
        indices = np.arange(first, min(first + BATCH, segments.n_segments))
        values = compute(segments.segments(indices))
        if not total.size:
            total = np.zeros((segments.n_tracks, values.shape[1]))
        np.add.at(total, segments.track[indices], values)
    return total / np.bincount(segments.track, minlength=segments.n_tracks)[:, None]
