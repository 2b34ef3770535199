"""Confidence intervals of accuracies that were measured on few tracks."""

import math
from collections.abc import Iterator
from statistics import NormalDist

import numpy as np

from genreflow.errors import ParameterError

# Numbers per block of bootstrap samples: it bounds the memory for any number of clusters.
_BLOCK = 4_000_000


def wilson(k: int, n: int, *, confidence: float = 0.95) -> tuple[float, float]:
    """Compute Wilson's score interval of a proportion; it suits few trials and proportions near 0 or 1.

    Parameters
    ----------
    k : int in [0, n]
        Number of successes.
    n : int > 0
        Number of independent trials.
    confidence : float in (0, 1)

    Returns
    -------
    low, high : float in [0, 1]

    Raises
    ------
    ParameterError
        `k` or `n` is out of range.

    References
    ----------
    Wilson: Probable Inference, the Law of Succession, and Statistical Inference. JASA 22 (1927).
    """
    if n < 1:
        raise ParameterError(f"n must be >= 1; got {n}.")
    if not 0 <= k <= n:
        raise ParameterError(f"k must be between 0 and n ({n}); got {k}.")
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    proportion = k / n
    centre = proportion + z**2 / (2 * n)
    half_width = z * math.sqrt(proportion * (1 - proportion) / n + z**2 / (4 * n**2))
    scale = 1 + z**2 / n
    return max(0.0, (centre - half_width) / scale), min(1.0, (centre + half_width) / scale)


def accuracy_interval(correct: np.ndarray, clusters: np.ndarray | None) -> tuple[float, float]:
    """Compute the 95 % interval of an accuracy: Wilson's, and where there are clusters, at least a bootstrap over them.

    A bootstrap alone would give an accuracy of 100 % an interval of no width.

    Parameters
    ----------
    correct : np.ndarray [shape=(n,), dtype=bool], n > 0
    clusters : np.ndarray [shape=(n,)] or None
        The cluster of each row, such as the track of a segment or the artist of a track; None if rows are independent.

    Returns
    -------
    low, high : float in [0, 1]

    Raises
    ------
    ParameterError
        As `bootstrap_interval`.
    """
    low, high = wilson(int(np.sum(correct)), len(correct))
    if clusters is None:
        return low, high
    of_clusters = bootstrap_interval(correct, clusters=clusters)
    return min(low, of_clusters[0]), max(high, of_clusters[1])


def bootstrap_interval(
    values: np.ndarray,
    *,
    clusters: np.ndarray | None = None,
    confidence: float = 0.95,
    n_resamples: int = 10_000,
    seed: int = 0,
) -> tuple[float, float]:
    """Compute the percentile bootstrap interval of a mean, by drawing whole clusters with replacement.

    Parameters
    ----------
    values : np.ndarray [shape=(n,)], n > 0
        Numbers or booleans, such as whether each segment was correctly classified.
    clusters : np.ndarray [shape=(n,)], optional
        The cluster of each value, such as the track of a segment or the artist of a track; by default each value is a
        cluster of its own.
    confidence : float in (0, 1)
    n_resamples : int > 0
    seed : int

    Returns
    -------
    low, high : float

    Raises
    ------
    ParameterError
        There are no values, or `clusters` has another length.

    References
    ----------
    Efron, Tibshirani: An Introduction to the Bootstrap. Chapman & Hall (1993), chapter 13.
    """
    sums, counts = cluster_sums(values, clusters)
    means = np.concatenate(
        [sums[drawn].sum(axis=1) / counts[drawn].sum(axis=1) for drawn in iter_resamples(len(sums), n_resamples, seed)]
    )
    low, high = np.quantile(means, [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(low), float(high)


def cluster_sums(values: np.ndarray, clusters: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    """Sum and count the values of each cluster.

    Parameters
    ----------
    values : np.ndarray [shape=(n,)], n > 0
    clusters : np.ndarray [shape=(n,)] or None
        As in `bootstrap_interval`.

    Returns
    -------
    sums, counts : np.ndarray [shape=(n_clusters,), dtype=float64]

    Raises
    ------
    ParameterError
        As `bootstrap_interval`.
    """
    values = np.asarray(values, np.float64)
    if values.ndim != 1 or not values.size:
        raise ParameterError(f"values must have shape (n > 0,); got {values.shape}.")
    if clusters is None:
        return values, np.ones(len(values))
    if len(clusters) != len(values):
        raise ParameterError(f"clusters must have the length of values ({len(values)}); got {len(clusters)}.")
    _, index = np.unique(np.asarray(clusters), return_inverse=True)
    return np.bincount(index, weights=values), np.bincount(index).astype(np.float64)


def iter_weights(n: int, n_resamples: int, seed: int) -> Iterator[np.ndarray]:
    """Yield how often each of `n` is drawn, in blocks of bootstrap samples of bounded size.

    np.ndarray [shape=(rows, n), dtype=float64]; `n_resamples` rows in all.
    """
    rng = np.random.default_rng(seed)
    rows = max(1, _BLOCK // n)
    for start in range(0, n_resamples, rows):
        yield rng.multinomial(n, np.full(n, 1 / n), size=min(rows, n_resamples - start)).astype(np.float64)


def iter_resamples(n: int, n_resamples: int, seed: int) -> Iterator[np.ndarray]:
    """Yield blocks of bootstrap samples, np.ndarray [shape=(rows, n), dtype=int]; `n_resamples` rows in all."""
    rng = np.random.default_rng(seed)
    rows = max(1, _BLOCK // n)
    for start in range(0, n_resamples, rows):
        yield rng.integers(n, size=(min(rows, n_resamples - start), n))
