"""How sure one can be of an accuracy that was measured on a few tracks."""

import math
from collections.abc import Iterator
from statistics import NormalDist

import numpy as np

from genreflow.errors import ParameterError

# Resamples drawn at a time hold at most this many numbers, whatever the number of clusters.
_BLOCK = 4_000_000


def wilson(k: int, n: int, *, confidence: float = 0.95) -> tuple[float, float]:
    """Wilson's score interval of a proportion: good for few trials and for proportions near 0 or 1.

    Parameters
    ----------
    k : int in [0, n]
        Successes.
    n : int > 0
        Independent trials.
    confidence : float in (0, 1)

    Returns
    -------
    low, high : float in [0, 1]

    Raises
    ------
    ParameterError
        ``0 <= k <= n`` and ``n > 0`` do not hold.

    References
    ----------
    Wilson: Probable Inference, the Law of Succession, and Statistical Inference. JASA 22 (1927).
    """
    if not 0 <= k <= n or n < 1:
        raise ParameterError(f"{k} successes of {n} trials have no interval; 0 <= k <= n with n > 0 is right.")
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    share = k / n
    middle = share + z**2 / (2 * n)
    half = z * math.sqrt(share * (1 - share) / n + z**2 / (4 * n**2))
    scale = 1 + z**2 / n
    return max(0.0, (middle - half) / scale), min(1.0, (middle + half) / scale)


def bootstrap_interval(
    values: np.ndarray,
    *,
    clusters: np.ndarray | None = None,
    confidence: float = 0.95,
    n_resamples: int = 10_000,
    seed: int = 0,
) -> tuple[float, float]:
    """Percentile bootstrap interval of a mean, drawing whole clusters with replacement.

    Parameters
    ----------
    values : np.ndarray [shape=(n,)]
        Numbers or booleans, such as "this segment was classified rightly".
    clusters : np.ndarray [shape=(n,)], optional
        What each value belongs to: the track of a segment, or the artist of a track. None: each value is its own.
    confidence : float in (0, 1)
    n_resamples : int > 0
    seed : int

    Returns
    -------
    low, high : float

    Raises
    ------
    ParameterError
        There are no values, or the shapes do not fit.
    """
    sums, counts = cluster_sums(values, clusters)
    means = np.concatenate(
        [sums[drawn].sum(axis=1) / counts[drawn].sum(axis=1) for drawn in resamples(len(sums), n_resamples, seed)]
    )
    low, high = np.quantile(means, [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(low), float(high)


def cluster_sums(values: np.ndarray, clusters: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    """Sum and number of the values of each cluster, both np.ndarray [shape=(n_clusters,)]."""
    values = np.asarray(values, np.float64)
    if values.ndim != 1 or not values.size:
        raise ParameterError(f"Values have the shape {values.shape}; (n,) with n > 0 is right.")
    if clusters is None:
        return values, np.ones(len(values))
    if len(clusters) != len(values):
        raise ParameterError(f"{len(clusters)} clusters are named for {len(values)} values; one each is right.")
    _, index = np.unique(np.asarray(clusters), return_inverse=True)
    return np.bincount(index, weights=values), np.bincount(index).astype(np.float64)


def resamples(n: int, n_resamples: int, seed: int) -> Iterator[np.ndarray]:
    """Blocks of bootstrap draws, np.ndarray [shape=(some, n), dtype=int]; `n_resamples` rows in all."""
    rng = np.random.default_rng(seed)
    rows = max(1, _BLOCK // n)
    for start in range(0, n_resamples, rows):
        yield rng.integers(n, size=(min(rows, n_resamples - start), n))
