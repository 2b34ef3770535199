"""Two-sample tests between the reference of a bundle and a window of its predictions.

Level, summary of the log-mel frames, confidence and unfamiliarity are compared one by one with the statistic of
Kolmogorov and Smirnov; embeddings and probabilities as a whole with the maximum mean discrepancy (Gretton et al., A
Kernel Two-Sample Test, JMLR 2012). Tracks of one artist are alike, so that the usual p-values, which assume independent
tracks, give false alarms. Here the distribution of all statistics without drift is that between random halves of the
reference's *artists*, which are independent, and the p-values are corrected for the number of tests with the smallest
p-value of each division (Westfall and Young 1993), which takes into account that the tests depend on each other. How
much artists differ is itself only estimated, from those of the reference, so that p-values are enlarged as Student's t
enlarges those of the normal distribution. Half as many degrees of freedom as artists keep false alarms at 5 % or less
for 18, 36 and 72 artists; without that, they were 14, 5 and 6 % (docs/experiments.md).

Both statistics are scaled by ``sqrt(n * m / (n + m))``, or its square, so that their distribution does not depend on
the numbers of tracks n and m. It does depend on the number of tracks of an artist: a window is expected to have about
as many as the reference. Fifty requests for one artist are drift, as the tests understand it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from scipy import stats
from scipy.spatial.distance import cdist, pdist

from genreflow.bundle import DriftReference
from genreflow.errors import ParameterError

# Random divisions of the artists: more of a few artists, whose p-values must be smaller to count (`smallest_p_values`).
DIVISIONS, MORE_DIVISIONS, FEW_GROUPS = 1999, 9999, 40
# Independent artists below which random divisions are too few to estimate anything from, and tracks of these.
MIN_GROUPS, MIN_TRACKS = 12, 30
EMBEDDING, PROBABILITIES = "embedding", "probabilities"
# Those of the log: otherwise a value that is constant would differ from itself.
_DECIMALS = 4


@dataclass(frozen=True)
class Sample:
    """Measurements of tracks, as a `DriftReference` has them.

    Parameters
    ----------
    names : sequence of str
    values : np.ndarray [shape=(n, len(names))]
    probabilities : np.ndarray [shape=(n, n_classes)]
    embeddings : np.ndarray [shape=(n, size)]
        Size 0 if there are none.
    """

    names: Sequence[str]
    values: np.ndarray = field(repr=False)
    probabilities: np.ndarray = field(repr=False)
    embeddings: np.ndarray = field(repr=False)

    @classmethod
    def of(cls, reference: DriftReference) -> "Sample":
        return cls(reference.names, reference.values, reference.probabilities, reference.embeddings)

    def __len__(self) -> int:
        return len(self.values)


@dataclass(frozen=True)
class Comparison:
    """One test.

    Parameters
    ----------
    name : str
        What is compared.
    statistic : float >= 0
        The largest difference of the two cumulative distributions, in [0, 1]; of embeddings and probabilities the
        maximum mean discrepancy.
    p_value : float in (0, 1]
        Of this test alone.
    p_adjusted : float in (0, 1]
        Corrected for the number of tests.
    p_independent : float in [0, 1] or None
        That of `scipy.stats.ks_2samp`, as if tracks of one artist were independent; None for a discrepancy.
    reference, window : float or None
        Medians; None for a discrepancy.
    """

    name: str
    statistic: float
    p_value: float
    p_adjusted: float
    p_independent: float | None = None
    reference: float | None = None
    window: float | None = None


def compare(
    reference: Sample,
    groups: np.ndarray,
    window: Sample,
    *,
    divisions: int | None = None,
    seed: int = 0,
    null: Mapping[str, np.ndarray] | None = None,
) -> list[Comparison]:
    """Test whether a window has the distribution of a reference.

    Parameters
    ----------
    reference : Sample
    groups : np.ndarray [shape=(n,)]
        Artists of the reference's tracks.
    window : Sample
        With the same columns.
    divisions, seed
        As in `null_statistics`.
    null : mapping of str to np.ndarray, optional
        `null_statistics` of the reference for a window of this size, if other windows are compared with it, too.

    Returns
    -------
    list of Comparison
        Of everything that both samples have. The chance of one or more ``p_adjusted < alpha`` without drift is alpha.

    Raises
    ------
    ParameterError
        The samples have other columns, or the reference has too few tracks or artists.
    """
    _check(reference, groups, window)
    null = null or null_statistics(reference, groups, len(window), divisions=divisions, seed=seed)
    found: list[Comparison] = []
    observed = []
    for column, name in enumerate(reference.names):
        own, other = _column(reference, column), _column(window, column)
        if name not in null or not np.isfinite(other).all():
            continue
        test = stats.ks_2samp(own, other, method="asymp")
        medians = float(np.median(own)), float(np.median(other))
        found.append(Comparison(name, float(test.statistic), 1, 1, float(test.pvalue), *medians))
        observed.append(test.statistic * np.sqrt(_scale(len(own), len(other))))
    for name, own, other in zip((EMBEDDING, PROBABILITIES), _vectors(reference), _vectors(window), strict=True):
        if name in null and other.shape[1]:
            squared = _discrepancy(own, other)
            found.append(Comparison(name, float(np.sqrt(max(squared, 0))), 1, 1))
            observed.append(squared * _scale(len(own), len(other)))
    draws = np.stack([null[each.name] for each in found], axis=1)
    alone, adjusted = smallest_p_values(np.array(observed), draws, degrees=len(np.unique(groups)) / 2)
    return [
        replace(each, p_value=float(p_value), p_adjusted=float(p_adjusted))
        for each, p_value, p_adjusted in zip(found, alone, adjusted, strict=True)
    ]


def null_statistics(
    reference: Sample, groups: np.ndarray, size: int, *, divisions: int | None = None, seed: int = 0
) -> dict[str, np.ndarray]:
    """Compute all statistics between random parts of a reference.

    Parameters
    ----------
    reference : Sample
    groups : np.ndarray [shape=(n,)]
        Artists of its tracks.
    size : int > 0
        Of a window.
    divisions : int > 0, optional
        Random divisions of the artists; by default `DIVISIONS`, or `MORE_DIVISIONS` where there are few artists:
        with 999 divisions of 18 artists, no p-value could become small enough.
    seed : int >= 0
        Of the divisions: the same samples give the same result.

    Returns
    -------
    dict of str to np.ndarray [shape=(divisions,)]
        The scaled statistic of each division, by the name of the test.
    """
    divisions = divisions or (DIVISIONS if len(np.unique(groups)) >= FEW_GROUPS else MORE_DIVISIONS)
    parts = _divide(groups, share=min(0.5, size / (size + len(reference))), count=divisions, seed=seed)
    columns = {name: _column(reference, column) for column, name in enumerate(reference.names)}
    null = {name: _null_of_ks(values, parts) for name, values in columns.items() if np.isfinite(values).all()}
    for name, vectors in zip((EMBEDDING, PROBABILITIES), _vectors(reference), strict=True):
        if vectors.shape[1]:
            null[name] = _null_of_discrepancies(vectors, parts)
    return null


def smallest_p_values(
    observed: np.ndarray, null: np.ndarray, *, degrees: float = np.inf
) -> tuple[np.ndarray, np.ndarray]:
    """Compute p-values from a joint distribution, and correct them for their number.

    Parameters
    ----------
    observed : np.ndarray [shape=(tests,)]
        Statistics; larger ones are less likely.
    null : np.ndarray [shape=(draws, tests)]
        Draws of all statistics together without an effect.
    degrees : float > 0
        Degrees of freedom of the estimate that the draws were made with: p-values become those of Student's t for the
        same quantile.

    Returns
    -------
    p_values : np.ndarray [shape=(tests,)]
        ``(1 + r) / (1 + draws)``, with r draws at least as large, enlarged according to `degrees`.
    adjusted : np.ndarray [shape=(tests,)]
        The same of the smallest p-value of all tests (Westfall and Young 1993, single-step minP).
    """
    draws = len(null)
    alone = (1 + (null >= observed).sum(axis=0)) / (1 + draws)
    if np.isfinite(degrees):
        alone = np.maximum(alone, 2 * stats.t.sf(stats.norm.isf(alone / 2), degrees))
    ranks = stats.rankdata(-null, method="max", axis=0)  # how many draws, itself included, are as large
    smallest = ranks.min(axis=1) / (1 + draws)
    adjusted = (1 + (smallest[:, None] <= alone).sum(axis=0)) / (1 + draws)
    return alone, np.maximum(adjusted, alone)


def _check(reference: Sample, groups: np.ndarray, window: Sample) -> None:
    if (
        tuple(reference.names) != tuple(window.names)
        or reference.probabilities.shape[1:] != (window.probabilities.shape[1:])
    ):
        raise ParameterError(f"window must have the columns {', '.join(reference.names)}; got {window.names}.")
    count = len(np.unique(groups))
    if len(reference) < MIN_TRACKS or count < MIN_GROUPS:
        raise ParameterError(
            f"The reference must have at least {MIN_TRACKS} tracks of {MIN_GROUPS} artists; got {len(reference)} of "
            f"{count}: a larger validation part gives more (`split.valid`)."
        )


def _divide(groups: np.ndarray, *, share: float, count: int, seed: int) -> np.ndarray:
    """Divide artists at random.

    Returns
    -------
    np.ndarray [shape=(count, n), dtype=bool]
        In each row, the tracks that stand for a window: about `share` of all, at least one artist, and not all.
    """
    artists, artist = np.unique(groups, return_inverse=True)
    orders = np.random.default_rng(seed).random((count, len(artists))).argsort(axis=1)
    ends = np.cumsum(np.bincount(artist)[orders], axis=1)
    chosen = np.abs(ends - share * len(groups)).argmin(axis=1) + 1  # artists of the window
    chosen = np.clip(chosen, 1, len(artists) - 1)
    return (orders.argsort(axis=1) < chosen[:, None])[:, artist]


def _scale(n: np.ndarray | int, m: np.ndarray | int) -> np.ndarray:
    return np.asarray(n * m / (n + m))


def _null_of_ks(values: np.ndarray, parts: np.ndarray) -> np.ndarray:
    """Return the scaled statistic of Kolmogorov and Smirnov of each division."""
    order = np.argsort(values, kind="stable")
    last = np.append(np.diff(values[order]) > 0, True)  # of equal values, the last one is where both have stepped
    parts = parts[:, order]
    m = parts.sum(axis=1, keepdims=True)
    n = parts.shape[1] - m
    # The two distributions, and their difference, are linear in the number of tracks that are in the window.
    inside = np.cumsum(parts, axis=1, dtype=np.float32)[:, last]
    ranks = np.arange(1, parts.shape[1] + 1, dtype=np.float32)[last]
    largest = np.abs(inside * (1 / m + 1 / n).astype(np.float32) - ranks / n.astype(np.float32)).max(axis=1)
    return largest * np.sqrt(_scale(n, m))[:, 0]


def _null_of_discrepancies(rows: np.ndarray, parts: np.ndarray) -> np.ndarray:
    """Return the scaled, squared maximum mean discrepancy of each division."""
    kernel = _kernel(rows, rows, _width(rows))
    m = parts.sum(axis=1)
    n = parts.shape[1] - m
    weights = np.where(parts, 1 / m[:, None], -1 / n[:, None])
    return np.einsum("ij,ij->i", weights @ kernel, weights) * _scale(n, m)


def _discrepancy(own: np.ndarray, other: np.ndarray) -> float:
    """Return the squared maximum mean discrepancy of a window."""
    width = _width(own)
    within = _kernel(own, own, width).mean() + _kernel(other, other, width).mean()
    return float(within - 2 * _kernel(own, other, width).mean())


def _width(rows: np.ndarray) -> float:
    return float(np.median(pdist(rows, "sqeuclidean"))) or 1.0


def _kernel(a: np.ndarray, b: np.ndarray, width: float) -> np.ndarray:
    return np.exp(-cdist(a, b, "sqeuclidean") / width)


def _column(sample: Sample, column: int) -> np.ndarray:
    return np.round(sample.values[:, column].astype(float), _DECIMALS)


def _vectors(sample: Sample) -> tuple[np.ndarray, np.ndarray]:
    """Return what the tests `EMBEDDING` and `PROBABILITIES` compare."""
    return _unit(sample.embeddings), np.sqrt(sample.probabilities)


def _unit(rows: np.ndarray) -> np.ndarray:
    rows = rows.astype(np.float64)
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
