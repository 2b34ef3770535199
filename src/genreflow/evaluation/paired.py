"""Whether one classifier is better than another on the same tracks."""

import numpy as np

from genreflow.errors import ParameterError
from genreflow.evaluation.intervals import cluster_sums, resamples


def probability_better(
    correct_candidate: np.ndarray,
    correct_champion: np.ndarray,
    *,
    clusters: np.ndarray | None = None,
    n_resamples: int = 10_000,
    seed: int = 0,
) -> float:
    """Probability that the candidate is the better one, by a paired bootstrap over tracks.

    Both are judged on the same draws of tracks: what makes a track hard for both cancels. The probability is the share
    of draws in which the candidate has more right answers; a draw with as many counts half, so that two equal
    classifiers are at exactly 0.5.

    Parameters
    ----------
    correct_candidate, correct_champion : np.ndarray [shape=(n,), dtype=bool]
        Whether each answered each track rightly, in the same order.
    clusters : np.ndarray [shape=(n,)], optional
        What each track belongs to (its artist); whole clusters are drawn.
    n_resamples : int > 0
    seed : int

    Returns
    -------
    float in [0, 1]

    Raises
    ------
    ParameterError
        The shapes do not fit, or there are no tracks.
    """
    candidate, champion = np.asarray(correct_candidate, bool), np.asarray(correct_champion, bool)
    if candidate.shape != champion.shape:
        raise ParameterError(
            f"Answers of shape {candidate.shape} and {champion.shape} cannot be paired; the same tracks are needed."
        )
    # Whole numbers, so that ties are exact.
    gains, _ = cluster_sums(candidate.astype(int) - champion.astype(int), clusters)
    gains = gains.astype(np.int32)
    wins = sum(np.sign(gains[drawn].sum(axis=1)).sum() for drawn in resamples(len(gains), n_resamples, seed))
    return float((wins / n_resamples + 1) / 2)
