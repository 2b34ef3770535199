"""The distribution of the statistics without drift, from random divisions of artists, and p-values from it."""

import numpy as np
from scipy import stats

from genreflow.monitoring.drift_sample import Sample
from genreflow.monitoring.drift_statistics import discrepancies_of_divisions, ks_of_divisions

# Random divisions of the artists: more of a few artists, whose p-values must be smaller to count (`smallest_p_values`).
DIVISIONS, MORE_DIVISIONS, FEW_GROUPS = 1999, 9999, 40


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
    null = {
        name: ks_of_divisions(values, parts)
        for name, values in reference.columns().items()
        if np.isfinite(values).all()
    }
    return null | {
        name: discrepancies_of_divisions(rows, parts) for name, rows in reference.vectors().items() if rows.shape[1]
    }


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
