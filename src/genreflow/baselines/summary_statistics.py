"""Summary statistics of a track's log-mel frames: what shallow classifiers of music have long been trained on."""

import numpy as np

from genreflow.training.segment_set import SegmentSet


def summary_statistics(segments: SegmentSet) -> np.ndarray:
    """Compute the mean and the standard deviation of each mel band, and the mean absolute difference of its frames.

    Means and deviations of frame-wise spectral features over a track are the classic input of genre classifiers
    (Tzanetakis and Cook 2002).

    Parameters
    ----------
    segments : SegmentSet
        All frames of its pieces are used, whatever its segments are.

    Returns
    -------
    np.ndarray [shape=(n_tracks, 3 * n_mels), dtype=float64]
        For levels in [0, 1].

    References
    ----------
    Tzanetakis, Cook: Musical Genre Classification of Audio Signals. IEEE Trans. Speech and Audio Processing 10 (2002).
    """
    n_tracks, n_mels = segments.n_tracks, segments.n_mels
    frames, differences = np.zeros(n_tracks), np.zeros(n_tracks)
    total, squares, change = (np.zeros((n_tracks, n_mels)) for _ in range(3))
    for piece, track in zip(segments.pieces, _track_of_piece(segments), strict=True):
        levels = piece / 255
        frames[track] += len(levels)
        total[track] += levels.sum(axis=0)
        squares[track] += np.square(levels).sum(axis=0)
        differences[track] += len(levels) - 1
        change[track] += np.abs(np.diff(levels, axis=0)).sum(axis=0)
    mean = total / frames[:, None]
    deviation = np.sqrt(np.maximum(squares / frames[:, None] - mean**2, 0))
    return np.concatenate([mean, deviation, change / np.maximum(differences, 1)[:, None]], axis=1)


def _track_of_piece(segments: SegmentSet) -> np.ndarray:
    first = np.unique(segments.piece, return_index=True)[1]  # every piece has at least one segment
    return segments.track[first]
