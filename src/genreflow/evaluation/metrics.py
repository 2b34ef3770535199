"""Metrics of a classifier, overall and per genre."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from genreflow.errors import ParameterError
from genreflow.evaluation.calibration import expected_calibration_error
from genreflow.evaluation.checks import check_labels, check_probabilities
from genreflow.evaluation.intervals import accuracy_interval, iter_weights, wilson


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
    n_resamples: int = 2000,
    seed: int = 0,
) -> dict[str, np.ndarray]:
    """Compute 95 % intervals of precision, recall and F1 score of each genre.

    They contain Wilson's interval and, where there are clusters, the percentile bootstrap interval over clusters, which
    alone would give a ratio of 0 or 1 no width. The F1 score is a monotone function of tp / (tp + fp + fn), of which
    Wilson's interval is taken.

    Parameters
    ----------
    labels, predicted : np.ndarray [shape=(n,), dtype=int]
        Indices of genres.
    n_classes : int > 0
    clusters : np.ndarray [shape=(n,)], optional
        The cluster of each row, such as the artist of a track.
    n_resamples : int > 0
    seed : int

    Returns
    -------
    dict with the keys precision, recall, f1; each np.ndarray [shape=(n_classes, 2)], in [0, 1]
        Low and high; [0, 1] of a ratio with the denominator 0.
    """
    labels, predicted = np.asarray(labels), np.asarray(predicted)
    index = np.zeros(len(labels), int) if clusters is None else np.unique(np.asarray(clusters), return_inverse=True)[1]
    n_clusters = index.max() + 1
    true_positives, of_predicted, of_label = counts = np.zeros((3, n_clusters, n_classes))
    hit = labels == predicted
    np.add.at(true_positives, (index[hit], labels[hit]), 1)
    np.add.at(of_predicted, (index, predicted), 1)
    np.add.at(of_label, (index, labels), 1)
    blocks = [] if clusters is None else [w @ counts for w in iter_weights(n_clusters, n_resamples, seed)]
    # Of every sample, and last of all rows.
    tp, all_predicted, all_labelled = np.concatenate([*blocks, counts.sum(axis=1, keepdims=True)], axis=1)
    # F1 as tp / (tp + fp + fn), as if it were a proportion.
    denominators = {"precision": all_predicted, "recall": all_labelled, "f1": all_predicted + all_labelled - tp}
    intervals = {
        name: np.array([_hull(tp[:, genre], bottom[:, genre]) for genre in range(n_classes)])
        for name, bottom in denominators.items()
    }
    intervals["f1"] = 2 * intervals["f1"] / (1 + intervals["f1"])
    return intervals


def _hull(numerators: np.ndarray, denominators: np.ndarray) -> tuple[float, float]:
    """Return the interval that contains Wilson's of the last ratio and 95 % of the others."""
    if not denominators[-1]:
        return 0.0, 1.0
    low, high = wilson(int(numerators[-1]), int(denominators[-1]))
    defined = denominators > 0
    quantiles = np.quantile(numerators[defined] / denominators[defined], [0.025, 0.975])
    return min(low, float(quantiles[0])), max(high, float(quantiles[1]))


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
