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
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from scipy import stats

from genreflow.errors import ParameterError
from genreflow.monitoring.drift_sample import Sample
from genreflow.monitoring.drift_statistics import effective_size, squared_discrepancy
from genreflow.monitoring.null_distribution import null_statistics, smallest_p_values

# Independent artists below which random divisions are too few to estimate anything from, and tracks of these.
MIN_GROUPS, MIN_TRACKS = 12, 30


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
    of_window = window.columns()
    for name, own in reference.columns().items():
        other = of_window[name]
        if name not in null or not np.isfinite(other).all():
            continue
        test = stats.ks_2samp(own, other, method="asymp")
        medians = float(np.median(own)), float(np.median(other))
        found.append(Comparison(name, float(test.statistic), 1, 1, float(test.pvalue), *medians))
        observed.append(test.statistic * np.sqrt(effective_size(len(own), len(other))))
    of_window = window.vectors()
    for name, own in reference.vectors().items():
        other = of_window[name]
        if name in null and other.shape[1]:
            squared = squared_discrepancy(own, other)
            found.append(Comparison(name, float(np.sqrt(max(squared, 0))), 1, 1))
            observed.append(squared * effective_size(len(own), len(other)))
    draws = np.stack([null[each.name] for each in found], axis=1)
    alone, adjusted = smallest_p_values(np.array(observed), draws, degrees=len(np.unique(groups)) / 2)
    return [
        replace(each, p_value=float(p_value), p_adjusted=float(p_adjusted))
        for each, p_value, p_adjusted in zip(found, alone, adjusted, strict=True)
    ]


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
