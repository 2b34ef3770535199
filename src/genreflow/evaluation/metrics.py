"""Metrics of a classifier, overall and per genre."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from genreflow.errors import ParameterError
from genreflow.evaluation.calibration import expected_calibration_error
from genreflow.evaluation.checks import check_labels, check_probabilities
from genreflow.evaluation.intervals import accuracy_interval


def confusion_matrix(labels: np.ndarray, predicted: np.ndarray, n_classes: int) -> np.ndarray:
    """Count how often which genre was predicted for which.

    Parameters
    ----------
    labels, predicted : np.ndarray [shape=(n,), dtype=int]
        Indices of genres.
    n_classes : int > 0

    Returns
    -------
    np.ndarray [shape=(n_classes, n_classes), dtype=int]
        Entry [i, j]: number of tracks of genre i that were classified as j.
    """
    flat = np.bincount(np.asarray(labels) * n_classes + np.asarray(predicted), minlength=n_classes**2)
    return flat.reshape(n_classes, n_classes)


def per_class(confusion: np.ndarray) -> dict[str, np.ndarray]:
    """Compute precision, recall, F1 score and support of each genre.

    Parameters
    ----------
    confusion : np.ndarray [shape=(n_classes, n_classes), dtype=int]
        As from `confusion_matrix`.

    Returns
    -------
    dict with the keys precision, recall, f1, support; each np.ndarray [shape=(n_classes,)]
        ``f1 = 2 tp / (2 tp + fp + fn)``. A ratio with denominator 0 is 0, as in scikit-learn.
    """
    true_positives = np.diag(confusion).astype(np.float64)
    predicted, support = confusion.sum(axis=0), confusion.sum(axis=1)
    return {
        "precision": true_positives / np.maximum(predicted, 1),
        "recall": true_positives / np.maximum(support, 1),
        "f1": 2 * true_positives / np.maximum(predicted + support, 1),
        "support": support,
    }


def per_class_intervals(
    labels: np.ndarray,
    predicted: np.ndarray,
    n_classes: int,
    *,
    clusters: np.ndarray | None = None,
    confidence: float = 0.95,
    n_resamples: int = 2000,
    seed: int = 0,
) -> dict[str, np.ndarray]:
    """Compute percentile bootstrap intervals of precision, recall and F1 score of each genre.

    Parameters
    ----------
    labels, predicted : np.ndarray [shape=(n,), dtype=int]
        Indices of genres.
    n_classes : int > 0
    clusters : np.ndarray [shape=(n,)], optional
        The cluster of each row, such as the artist of a track; whole clusters are drawn. By default each row is a
        cluster of its own.
    confidence : float in (0, 1)
    n_resamples : int > 0
    seed : int

    Returns
    -------
    dict with the keys precision, recall, f1; each np.ndarray [shape=(n_classes, 2)], in [0, 1]
        Low and high. Samples in which a ratio has the denominator 0 are left out; without any other, it is [0, 1].
    """
    labels, predicted = np.asarray(labels), np.asarray(predicted)
    index = np.arange(len(labels)) if clusters is None else np.unique(np.asarray(clusters), return_inverse=True)[1]
    counts = np.zeros((3, index.max() + 1, n_classes))  # true positives, predicted and labelled rows of each cluster
    np.add.at(counts[0], (index[labels == predicted], labels[labels == predicted]), 1)
    np.add.at(counts[1], (index, predicted), 1)
    np.add.at(counts[2], (index, labels), 1)
    n = counts.shape[1]
    drawn = np.random.default_rng(seed).multinomial(n, np.full(n, 1 / n), size=n_resamples).astype(np.float64)
    true_positives, of_predicted, of_label = (drawn @ count for count in counts)
    ratios = {
        "precision": (true_positives, of_predicted),
        "recall": (true_positives, of_label),
        "f1": (2 * true_positives, of_predicted + of_label),
    }
    quantiles = [(1 - confidence) / 2, (1 + confidence) / 2]
    intervals = {}
    for name, (numerator, denominator) in ratios.items():
        shares = [top[bottom > 0] / bottom[bottom > 0] for top, bottom in zip(numerator.T, denominator.T, strict=True)]
        intervals[name] = np.array([np.quantile(share, quantiles) if len(share) else (0.0, 1.0) for share in shares])
    return intervals


def evaluate(
    probabilities: np.ndarray, labels: np.ndarray, *, genres: Sequence[str], clusters: np.ndarray | None = None
) -> dict[str, Any]:
    """Compute all metrics of an evaluation, ready for JSON.

    Parameters
    ----------
    probabilities : np.ndarray [shape=(n, n_classes)], n > 0
        One row per track (or segment).
    labels : np.ndarray [shape=(n,), dtype=int]
        Indices into `genres`.
    genres : sequence of str, length n_classes
    clusters : np.ndarray [shape=(n,)], optional
        The cluster of each row, such as the track of a segment or the artist of a track. Rows of a cluster are not
        independent: see `genreflow.evaluation.intervals.accuracy_interval`.

    Returns
    -------
    dict
        ``n``, ``accuracy`` with ``accuracy_low`` and ``accuracy_high`` (95 % confidence), ``balanced_accuracy`` and
        ``macro_f1`` (means over the genres that occur), ``log_loss`` [nats], ``calibration_error``, ``per_genre``
        (precision, recall, f1, each with its ``_interval``, and support, by genre) and ``confusion`` (rows: true genre;
        columns: predicted genre).

    Raises
    ------
    ParameterError
        Shapes do not match, rows are no probabilities, or a label is out of range.

    Examples
    --------
    >>> evaluate(np.eye(2), np.array([0, 1]), genres=["blues", "jazz"])["accuracy"]
    1.0
    """
    probabilities = check_probabilities(probabilities)
    n, n_classes = probabilities.shape
    labels = check_labels(labels, n, n_classes)
    if len(genres) != n_classes:
        raise ParameterError(f"genres must have one name per column of probabilities ({n_classes}); got {len(genres)}.")
    predicted = probabilities.argmax(axis=1)
    correct = predicted == labels
    confusion = confusion_matrix(labels, predicted, n_classes)
    by_class = per_class(confusion)
    occurring = by_class["support"] > 0
    low, high = accuracy_interval(correct, clusters)
    intervals = per_class_intervals(labels, predicted, n_classes, clusters=clusters)
    of_label = np.maximum(probabilities[np.arange(n), labels], np.finfo(np.float64).eps)
    return {
        "n": n,
        "accuracy": float(correct.mean()),
        "accuracy_low": low,
        "accuracy_high": high,
        "balanced_accuracy": float(by_class["recall"][occurring].mean()),
        "macro_f1": float(by_class["f1"][occurring].mean()),
        "log_loss": float(-np.log(of_label).mean()),
        "calibration_error": expected_calibration_error(probabilities, labels),
        "per_genre": {
            genre: {name: values[i].item() for name, values in by_class.items()}
            | {f"{name}_interval": pairs[i].tolist() for name, pairs in intervals.items()}
            for i, genre in enumerate(genres)
        },
        "confusion": confusion.tolist(),
    }
