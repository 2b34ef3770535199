"""Shallow classifiers whose regularisation is chosen on validation."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from sklearn.base import ClassifierMixin
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

# Inverse strengths of regularisation that are compared on validation.
C_VALUES = (0.001, 0.01, 0.1, 1.0, 10.0, 100.0)


@dataclass(frozen=True)
class Features:
    """Features and labels of the tracks of one part.

    Parameters
    ----------
    x : np.ndarray [shape=(n_tracks, n_features)]
    labels : np.ndarray [shape=(n_tracks,), dtype=int]
    """

    x: np.ndarray
    labels: np.ndarray


def support_vector_machine(c: float) -> ClassifierMixin:
    """An SVM with an RBF kernel on standardised features."""
    return make_pipeline(StandardScaler(), SVC(C=c, class_weight="balanced"))


def linear_probe(c: float) -> ClassifierMixin:
    """Logistic regression on standardised features."""
    return make_pipeline(StandardScaler(), LogisticRegression(C=c, class_weight="balanced", max_iter=2000))


def fit_and_predict(
    make: Callable[[float], ClassifierMixin], train: Features, valid: Features, x: np.ndarray
) -> np.ndarray:
    """Fit a classifier on training tracks for each of `C_VALUES`, and predict with the best one on validation.

    That is what the study and early stopping do for a network, so that neither has seen more than the other.

    Parameters
    ----------
    make : callable
        Maps a value of C to a classifier.
    train, valid : Features
    x : np.ndarray [shape=(n, n_features)]
        Of the tracks to classify.

    Returns
    -------
    np.ndarray [shape=(n,), dtype=int]
        Predicted labels. Of equally accurate classifiers, the one with the strongest regularisation is taken.
    """
    if len(np.unique(train.labels)) == 1:  # scikit-learn refuses a single class
        return np.full(len(x), train.labels[0])
    fitted = [make(c).fit(train.x, train.labels) for c in C_VALUES]
    accuracies = [np.mean(classifier.predict(valid.x) == valid.labels) for classifier in fitted]
    return fitted[int(np.argmax(accuracies))].predict(x)
