"""Summary statistics of a track's log-mel frames: what shallow classifiers of music have long been trained on."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from genreflow.training.segment_set import SegmentSet


def summary_statistics(segments: "SegmentSet") -> np.ndarray:
    """Compute the statistics of `track_statistics` for the tracks of a segment set.

    Parameters
    ----------
    segments : SegmentSet
        All frames of its pieces are used, whatever its segments are.

    Returns
    -------
    np.ndarray [shape=(n_tracks, 3 * n_mels), dtype=float64]
    """
    pieces: list[list[np.ndarray]] = [[] for _ in range(segments.n_tracks)]
    for piece, track in zip(segments.pieces, _track_of_piece(segments), strict=True):
        pieces[track].append(piece)
    return np.stack([track_statistics(own) for own in pieces])


def track_statistics(pieces: Sequence[np.ndarray]) -> np.ndarray:
    """Compute the mean and the standard deviation of each mel band, and the mean absolute difference of its frames.

    Means are relative to the loudest cell of the track, so that the level of a recording does not matter.

    Means and deviations of frame-wise spectral features over a track are the classic input of genre classifiers
    (Tzanetakis and Cook 2002).

    Parameters
    ----------
    pieces : sequence of np.ndarray [shape=(frames, n_mels), dtype=uint8]
        At least one; there is no difference across two pieces.

    Returns
    -------
    np.ndarray [shape=(3 * n_mels,), dtype=float64]
        For levels in [0, 1].

    References
    ----------
    Tzanetakis, Cook: Musical Genre Classification of Audio Signals. IEEE Trans. Speech and Audio Processing 10 (2002).
    """
    frames, differences, peak = 0, 0, 0.0
    total, squares, change = np.zeros((3, pieces[0].shape[1]))
    for piece in pieces:
        levels = piece / 255
        frames += len(levels)
        peak = max(peak, levels.max(initial=0.0))
        total += levels.sum(axis=0)
        squares += np.square(levels).sum(axis=0)
        differences += len(levels) - 1
        change += np.abs(np.diff(levels, axis=0)).sum(axis=0)
    mean = total / frames
    deviation = np.sqrt(np.maximum(squares / frames - mean**2, 0))
    return np.concatenate([mean - peak, deviation, change / max(differences, 1)])


def _track_of_piece(segments: "SegmentSet") -> np.ndarray:
    first = np.unique(segments.piece, return_index=True)[1]  # every piece has at least one segment
    return segments.track[first]
