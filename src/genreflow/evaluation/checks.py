"""Faults in what is to be measured, named before they become figures."""

import numpy as np

from genreflow.errors import ParameterError


def check_probabilities(probabilities: np.ndarray) -> np.ndarray:
    """`probabilities` as float64, once they are known to be probabilities.

    Raises
    ------
    ParameterError
        They are empty, not of shape (n, c), out of [0, 1], or do not sum to 1.
    """
    probabilities = np.asarray(probabilities, np.float64)
    if probabilities.ndim != 2 or not probabilities.size:
        raise ParameterError(f"Probabilities have the shape {probabilities.shape}; (n, c) with n > 0 is right.")
    # not (>=) rather than (<): NaN must not pass
    if not (probabilities.min() >= -1e-6 and np.abs(probabilities.sum(axis=1) - 1).max() <= 1e-4):
        raise ParameterError("Each row of probabilities must be non-negative and sum to 1; softmax the logits first.")
    return probabilities


def check_labels(labels: np.ndarray, n: int, n_classes: int) -> np.ndarray:
    """`labels` as an integer array, once they are known to be `n` indices of `n_classes` genres.

    Raises
    ------
    ParameterError
        Their number, type or range is wrong.
    """
    labels = np.asarray(labels)
    if labels.shape != (n,) or not n:
        raise ParameterError(f"Labels have the shape {labels.shape}; ({n},) with at least one label is right.")
    if not np.issubdtype(labels.dtype, np.integer) or labels.min() < 0 or labels.max() >= n_classes:
        raise ParameterError(f"Labels must be whole numbers in [0, {n_classes}), one for each genre.")
    return labels
