"""Out-of-fold probabilities of genres: each track is classified by what was learnt from other artists."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from genreflow.splits.assign import assign_folds

FOLDS = 5
# A track is judged if its genre is learnt from at least this many other artists: one is a sound, not a genre.
MIN_OTHER_ARTISTS = 2
# Inverse strengths of regularisation; the one with the lowest log loss is used.
C_VALUES = (0.001, 0.01, 0.1, 1.0)
_SEED = 0


@dataclass(frozen=True)
class OutOfFold:
    """Out-of-fold probabilities.

    Parameters
    ----------
    probabilities : np.ndarray [shape=(n_tracks, n_genres), range=[0, 1]]
    judged : np.ndarray [shape=(n_tracks,), dtype=bool]
        False where the genre of the label was learnt from fewer than `MIN_OTHER_ARTISTS` artists.
    """

    probabilities: np.ndarray
    judged: np.ndarray


def predict_out_of_fold(x: np.ndarray, labels: np.ndarray, groups: Sequence[str], *, n_genres: int) -> OutOfFold:
    """Classify each track with logistic regressions that were fitted on tracks of other groups.

    The folds are those of `assign_folds`, as for ``split.method = kfold``. scikit-learn's StratifiedGroupKFold does not
    ensure that a genre of few artists is in several folds, and where it is not, its tracks cannot be judged.

    Parameters
    ----------
    x : np.ndarray [shape=(n_tracks, n_features)]
    labels : np.ndarray [shape=(n_tracks,), dtype=int, range=[0, n_genres)]
    groups : sequence of str [shape=(n_tracks,)]
        Artists.
    n_genres : int > 0

    Returns
    -------
    OutOfFold
        A track is not judged, and its probabilities are zero, where there are fewer than two genres to learn.
    """
    if len(np.unique(labels)) < 2:
        return OutOfFold(np.zeros((len(labels), n_genres)), np.zeros(len(labels), bool))
    artists = np.unique(np.asarray(groups), return_inverse=True)[1]
    folds = min(FOLDS, int(artists.max()) + 1)
    fold_of = assign_folds(groups, [str(label) for label in labels], folds=folds, seed=_SEED)
    judged = np.zeros(len(labels), bool)
    by_c = {c: np.zeros((len(labels), n_genres)) for c in C_VALUES}
    for fold in range(folds):
        train, held_out = fold_of != fold, fold_of == fold
        if len(np.unique(labels[train])) < 2:  # scikit-learn refuses a single class
            continue
        others = [len(np.unique(artists[train & (labels == genre)])) for genre in range(n_genres)]
        judged |= held_out & (np.array(others)[labels] >= MIN_OTHER_ARTISTS)
        for c, probabilities in by_c.items():
            probabilities[held_out] = _fit_and_predict(c, x[train], labels[train], x[held_out], n_genres)
    return OutOfFold(
        min(by_c.values(), key=lambda probabilities: _log_loss(probabilities[judged], labels[judged])), judged
    )


def _fit_and_predict(c: float, x: np.ndarray, labels: np.ndarray, held_out: np.ndarray, n_genres: int) -> np.ndarray:
    from genreflow.baselines.classifiers import linear_probe

    classifier = linear_probe(c).fit(x, labels)
    probabilities = np.zeros((len(held_out), n_genres))
    probabilities[:, classifier.classes_] = classifier.predict_proba(held_out)
    return probabilities


def _log_loss(probabilities: np.ndarray, labels: np.ndarray) -> float:
    own = probabilities[np.arange(len(labels)), labels]
    return float(-np.log(np.maximum(own, 1e-12)).mean()) if len(own) else 0.0
