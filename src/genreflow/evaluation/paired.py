"""Comparison of two classifiers on the same tracks."""

import math
from statistics import NormalDist

import numpy as np

from genreflow.errors import ParameterError
from genreflow.evaluation.intervals import bootstrap_interval, cluster_sums, iter_resamples


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
    candidate, champion = _check_shapes(correct_candidate, correct_champion)
    # Integers, so that ties are exact.
    gains, _ = cluster_sums(candidate.astype(int) - champion.astype(int), clusters)
    gains = gains.astype(np.int32)
    signs = sum(np.sign(gains[drawn].sum(axis=1)).sum() for drawn in iter_resamples(len(gains), n_resamples, seed))
    return float((signs / n_resamples + 1) / 2)


def difference_interval(
    correct_candidate: np.ndarray,
    correct_champion: np.ndarray,
    *,
    clusters: np.ndarray | None = None,
    confidence: float = 0.95,
    seed: int = 0,
) -> tuple[float, float]:
    """Compute an interval of the difference between two accuracies on the same tracks, candidate minus champion.

    It contains two intervals: the adjusted Wald interval for paired proportions (Bonett and Price 2012), which adds one
    track that only the candidate and one that only the champion classifies correctly, and, where there are clusters, a
    bootstrap over them. A bootstrap alone would give a difference that is the same for all tracks an interval of no
    width. With clusters the first one counts them as the independent observations, not the tracks.

    Parameters
    ----------
    correct_candidate, correct_champion : np.ndarray [shape=(n,), dtype=bool], n > 0
        Whether each track was correctly classified, in the same order.
    clusters : np.ndarray [shape=(n,)], optional
        The cluster of each track, such as its artist.
    confidence : float in (0, 1)
    seed : int

    Returns
    -------
    low, high : float in [-1, 1]

    Raises
    ------
    ParameterError
        Shapes do not match, or there are no tracks.

    References
    ----------
    Bonett, Price: Adjusted Wald Confidence Interval for a Difference of Binomial Proportions Based on Paired Data.
    Journal of Educational and Behavioral Statistics 37 (2012).
    """
    candidate, champion = _check_shapes(correct_candidate, correct_champion)
    n = len(cluster_sums(candidate, clusters)[0])  # independent observations
    gained = (n * float(np.mean(candidate & ~champion)) + 1) / (n + 2)
    lost = (n * float(np.mean(champion & ~candidate)) + 1) / (n + 2)
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    half_width = z * math.sqrt((gained + lost - (gained - lost) ** 2) / (n + 2))
    low, high = gained - lost - half_width, gained - lost + half_width
    if clusters is not None:
        differences = candidate.astype(int) - champion.astype(int)
        resampled = bootstrap_interval(differences, clusters=clusters, confidence=confidence, seed=seed)
        low, high = min(low, resampled[0]), max(high, resampled[1])
    return max(-1.0, low), min(1.0, high)


def _check_shapes(correct_candidate: np.ndarray, correct_champion: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    candidate, champion = np.asarray(correct_candidate, bool), np.asarray(correct_champion, bool)
    if candidate.shape != champion.shape:
        raise ParameterError(
            f"correct_candidate must have the shape of correct_champion, {champion.shape}; got {candidate.shape}."
        )
    return candidate, champion
