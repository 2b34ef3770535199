"""Validation of the arguments of metrics."""

import numpy as np

from genreflow.errors import ParameterError


def check_probabilities(probabilities: np.ndarray) -> np.ndarray:
    """Validate probabilities.

    Parameters
    ----------
    probabilities : np.ndarray [shape=(n, n_classes)]

    Returns
    -------
    np.ndarray [shape=(n, n_classes), dtype=float64]

    Raises
    ------
    ParameterError
        They are empty or not two-dimensional, a value is not in [0, 1], or a row does not sum to 1.
    """
    probabilities = np.asarray(probabilities, np.float64)
    if probabilities.ndim != 2 or not probabilities.size:
        raise ParameterError(f"probabilities must have shape (n > 0, n_classes); got {probabilities.shape}.")
    least, deviation = probabilities.min(), np.abs(probabilities.sum(axis=1) - 1).max()
    if not (least >= -1e-6 and deviation <= 1e-4):  # also for NaN
        raise ParameterError(
            f"probabilities must be >= 0 and sum to 1 in each row; got a minimum of {least:g} and a sum that is off by "
            f"{deviation:g}."
        )
    return probabilities


def check_labels(labels: np.ndarray, n: int, n_classes: int) -> np.ndarray:
    """Validate labels.

    Parameters
    ----------
    labels : np.ndarray [shape=(n,), dtype=int], in [0, n_classes)
    n : int
    n_classes : int > 0

    Returns
    -------
    np.ndarray [shape=(n,), dtype=int]

    Raises
    ------
    ParameterError
        Their shape, type or range is another one, or there are none.
    """
    labels = np.asarray(labels)
    if labels.shape != (n,) or not n:
        raise ParameterError(f"labels must have shape ({n},) with n > 0; got {labels.shape}.")
    if not np.issubdtype(labels.dtype, np.integer):
        raise ParameterError(f"labels must be integers; got {labels.dtype}.")
    if labels.min() < 0 or labels.max() >= n_classes:
        raise ParameterError(f"labels must be in [0, {n_classes}); got {labels.min()} to {labels.max()}.")
    return labels
