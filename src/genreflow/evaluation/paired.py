"""Comparison of two classifiers on the same tracks."""

import numpy as np

from genreflow.errors import ParameterError
from genreflow.evaluation.intervals import cluster_sums, iter_resamples


def probability_better(
    correct_candidate: np.ndarray,
    correct_champion: np.ndarray,
    *,
    clusters: np.ndarray | None = None,
    n_resamples: int = 10_000,
    seed: int = 0,
) -> float:
    """Estimate the probability that the candidate is the better classifier, by a paired bootstrap over tracks.

    Both are compared on the same bootstrap samples, so that the difficulty of a track cancels. The estimate is the
    share of samples in which the candidate classifies more tracks correctly; ties count half, so that two equal
    classifiers give exactly 0.5.

    Parameters
    ----------
    correct_candidate, correct_champion : np.ndarray [shape=(n,), dtype=bool], n > 0
        Whether each track was correctly classified, in the same order.
    clusters : np.ndarray [shape=(n,)], optional
        The cluster of each track, such as its artist; whole clusters are drawn.
    n_resamples : int > 0
    seed : int

    Returns
    -------
    float in [0, 1]

    Raises
    ------
    ParameterError
        Shapes do not match, or there are no tracks.

    References
    ----------
    Efron, Tibshirani: An Introduction to the Bootstrap. Chapman & Hall (1993).
    """
    candidate, champion = np.asarray(correct_candidate, bool), np.asarray(correct_champion, bool)
    if candidate.shape != champion.shape:
        raise ParameterError(
            f"correct_candidate must have the shape of correct_champion, {champion.shape}; got {candidate.shape}."
        )
    # Integers, so that ties are exact.
    gains, _ = cluster_sums(candidate.astype(int) - champion.astype(int), clusters)
    gains = gains.astype(np.int32)
    signs = sum(np.sign(gains[drawn].sum(axis=1)).sum() for drawn in iter_resamples(len(gains), n_resamples, seed))
    return float((signs / n_resamples + 1) / 2)
