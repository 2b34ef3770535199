"""The statistics of the tests for drift: that of Kolmogorov and Smirnov, and the maximum mean discrepancy.

Both are scaled by ``sqrt(n * m / (n + m))``, or its square, so that their distribution without drift does not depend on
the numbers of tracks n and m. It does depend on the number of tracks of an artist: a window is expected to have about
as many as the reference. Fifty requests for one artist are drift, as the tests understand it.
"""

import numpy as np
from scipy.spatial.distance import cdist, pdist


def effective_size(n: np.ndarray | int, m: np.ndarray | int) -> np.ndarray:
    """Return the number of tracks that scales the statistics of two samples: ``n * m / (n + m)``.

    Parameters
    ----------
    n, m : np.ndarray [shape=(divisions,)] or int > 0
        Tracks of the samples.
    """
    return np.asarray(n * m / (n + m))


def ks_of_divisions(values: np.ndarray, parts: np.ndarray) -> np.ndarray:
    """Compute the statistic of Kolmogorov and Smirnov between the two parts of each division of a sample.

    Parameters
    ----------
    values : np.ndarray [shape=(n,)]
        Finite.
    parts : np.ndarray [shape=(divisions, n), dtype=bool]
        In each row, the tracks of one part: not none, and not all.

    Returns
    -------
    np.ndarray [shape=(divisions,)]
        The largest difference of the two cumulative distributions, scaled.
    """
    order = np.argsort(values, kind="stable")
    last = np.append(np.diff(values[order]) > 0, True)  # of equal values, the last one is where both have stepped
    parts = parts[:, order]
    m = parts.sum(axis=1, keepdims=True)
    n = parts.shape[1] - m
    # The two distributions, and their difference, are linear in the number of tracks that are in the window.
    inside = np.cumsum(parts, axis=1, dtype=np.float32)[:, last]
    ranks = np.arange(1, parts.shape[1] + 1, dtype=np.float32)[last]
    largest = np.abs(inside * (1 / m + 1 / n).astype(np.float32) - ranks / n.astype(np.float32)).max(axis=1)
    return largest * np.sqrt(effective_size(n, m))[:, 0]


def discrepancies_of_divisions(rows: np.ndarray, parts: np.ndarray) -> np.ndarray:
    """Compute the maximum mean discrepancy between the two parts of each division of a sample.

    Parameters
    ----------
    rows : np.ndarray [shape=(n, size)]
    parts : np.ndarray [shape=(divisions, n), dtype=bool]
        In each row, the tracks of one part: not none, and not all.

    Returns
    -------
    np.ndarray [shape=(divisions,)]
        Its square, as in `squared_discrepancy`, scaled. The width of the kernel is that of the whole sample.
    """
    kernel = _kernel(rows, rows, _width(rows))
    m = parts.sum(axis=1)
    n = parts.shape[1] - m
    weights = np.where(parts, 1 / m[:, None], -1 / n[:, None])
    return np.einsum("ij,ij->i", weights @ kernel, weights) * effective_size(n, m)


def squared_discrepancy(own: np.ndarray, other: np.ndarray) -> float:
    """Compute the maximum mean discrepancy of two samples (Gretton et al. 2012).

    Parameters
    ----------
    own : np.ndarray [shape=(n, size)]
        Of a reference. The width of the Gaussian kernel is the median of its squared distances.
    other : np.ndarray [shape=(m, size)]
        Of a window.

    Returns
    -------
    float
        Its square, the biased estimate, not scaled; with rounding it may be a little below 0.
    """
    width = _width(own)
    within = _kernel(own, own, width).mean() + _kernel(other, other, width).mean()
    return float(within - 2 * _kernel(own, other, width).mean())


def _width(rows: np.ndarray) -> float:
    return float(np.median(pdist(rows, "sqeuclidean"))) or 1.0


def _kernel(a: np.ndarray, b: np.ndarray, width: float) -> np.ndarray:
    return np.exp(-cdist(a, b, "sqeuclidean") / width)
