"""What a classifier gets right and wrong, over all and by genre."""

from collections.abc import Sequence

import numpy as np

from genreflow.errors import ParameterError
from genreflow.evaluation.calibration import expected_calibration_error
from genreflow.evaluation.checks import check_labels, check_probabilities
from genreflow.evaluation.intervals import bootstrap_interval, wilson


def confusion_matrix(labels: np.ndarray, predicted: np.ndarray, n_classes: int) -> np.ndarray:
    """How often which genre was taken for which.

    Parameters
    ----------
    labels, predicted : np.ndarray [shape=(n,), dtype=int]
        Indices of genres.
    n_classes : int > 0

    Returns
    -------
    np.ndarray [shape=(n_classes, n_classes), dtype=int]
        Entry [i, j]: answers j where i was right.
    """
    flat = np.bincount(np.asarray(labels) * n_classes + np.asarray(predicted), minlength=n_classes**2)
    return flat.reshape(n_classes, n_classes)


def per_class(confusion: np.ndarray) -> dict[str, np.ndarray]:
    """Precision, recall, F1 and support of each genre.

    Parameters
    ----------
    confusion : np.ndarray [shape=(c, c), dtype=int]
        As `confusion_matrix` gives it.

    Returns
    -------
    dict with the keys precision, recall, f1, support; each np.ndarray [shape=(c,)]
        ``f1 = 2 tp / (2 tp + fp + fn)``. A ratio whose denominator is 0 is 0, as in scikit-learn.
    """
    right = np.diag(confusion).astype(np.float64)
    predicted, support = confusion.sum(axis=0), confusion.sum(axis=1)
    return {
        "precision": right / np.maximum(predicted, 1),
        "recall": right / np.maximum(support, 1),
        "f1": 2 * right / np.maximum(predicted + support, 1),
        "support": support,
    }


def evaluate(
    probabilities: np.ndarray, labels: np.ndarray, *, genres: Sequence[str], clusters: np.ndarray | None = None
) -> dict:
    """All figures of one test, ready for JSON.

    Parameters
    ----------
    probabilities : np.ndarray [shape=(n, c)]
        Answers, one row a track (or a segment).
    labels : np.ndarray [shape=(n,), dtype=int]
        Indices into `genres`.
    genres : sequence of str, length c
    clusters : np.ndarray [shape=(n,)], optional
        What each row belongs to (the track of a segment, the artist of a track): rows of one cluster are not
        independent, so the interval is then a bootstrap over clusters; without it, it is Wilson's.

    Returns
    -------
    dict
        ``n``, ``accuracy`` with ``accuracy_low`` and ``accuracy_high`` (95 %), ``balanced_accuracy`` and ``macro_f1``
        (means over the genres that occur), ``log_loss`` (nats), ``calibration_error``, ``per_genre`` (genre to
        precision, recall, f1, support) and ``confusion`` (rows: the right genre; columns: the answer).

    Raises
    ------
    ParameterError
        The shapes do not fit, rows are no probabilities, or a label is out of range.
    """
    probabilities = check_probabilities(probabilities)
    n, n_classes = probabilities.shape
    labels = check_labels(labels, n, n_classes)
    if len(genres) != n_classes:
        raise ParameterError(f"{len(genres)} genres are named for probabilities of {n_classes}; one each is right.")
    predicted = probabilities.argmax(axis=1)
    correct = predicted == labels
    confusion = confusion_matrix(labels, predicted, n_classes)
    figures = per_class(confusion)
    occurring = figures["support"] > 0
    low, high = wilson(int(correct.sum()), n) if clusters is None else bootstrap_interval(correct, clusters=clusters)
    of_label = np.maximum(probabilities[np.arange(n), labels], np.finfo(np.float64).eps)
    return {
        "n": n,
        "accuracy": float(correct.mean()),
        "accuracy_low": low,
        "accuracy_high": high,
        "balanced_accuracy": float(figures["recall"][occurring].mean()),
        "macro_f1": float(figures["f1"][occurring].mean()),
        "log_loss": float(-np.log(of_label).mean()),
        "calibration_error": expected_calibration_error(probabilities, labels),
        "per_genre": {
            genre: {name: values[i].item() for name, values in figures.items()} for i, genre in enumerate(genres)
        },
        "confusion": confusion.tolist(),
    }
