"""How unlike its training music a track is: the distance of its embedding to those of training tracks.

The confidence of a classifier does not tell: it is high for many a sound of none of its genres. Here the reference is a
few prototypes of each genre, so that a bundle need not contain the training tracks. Distances are cosine distances: of
those compared, they separated genres that were left out of the training best.
"""

import numpy as np

from genreflow.errors import ParameterError

# Prototypes per genre, and how many of the nearest ones a distance is the mean of.
PER_GENRE, NEAREST = 16, 5
_ITERATIONS = 50


def fit_prototypes(
    embeddings: np.ndarray, labels: np.ndarray, *, per_genre: int = PER_GENRE, seed: int = 0
) -> np.ndarray:
    """Choose the prototypes of each genre: its tracks, or the centres of their clusters if there are more tracks.

    Clusters are those of spherical k-means (Dhillon and Modha 2001), started as k-means++ (Arthur and Vassilvitskii
    2007).

    Parameters
    ----------
    embeddings : np.ndarray [shape=(n_tracks, size)], n_tracks > 0
        The mean over the segments of each training track.
    labels : np.ndarray [shape=(n_tracks,)]
        Their genres.
    per_genre : int > 0
        Largest number of prototypes of a genre.
    seed : int >= 0

    Returns
    -------
    np.ndarray [shape=(n, size), dtype=float32]
        Of length 1.

    Raises
    ------
    ParameterError
        Shapes do not match, or a value is out of range or not finite.
    """
    unit, labels = _unit("embeddings", embeddings), np.asarray(labels)
    if labels.shape != unit.shape[:1] or not len(unit):
        raise ParameterError(f"labels must have shape ({len(unit)},) with n > 0; got {labels.shape}.")
    if per_genre < 1:
        raise ParameterError(f"per_genre must be >= 1; got {per_genre}.")
    rng = np.random.default_rng(seed)
    rows = [unit[labels == label] for label in np.unique(labels)]
    return np.concatenate([_centres(own, per_genre, rng) for own in rows]).astype(np.float32)


def unfamiliarity(embeddings: np.ndarray, prototypes: np.ndarray, *, nearest: int = NEAREST) -> np.ndarray:
    """Compute the mean cosine distance of each track to its nearest prototypes.

    Parameters
    ----------
    embeddings : np.ndarray [shape=(n_tracks, size)]
    prototypes : np.ndarray [shape=(n, size)], n > 0
        From `fit_prototypes`: finite, of length 1.
    nearest : int > 0
        Number of prototypes; all if there are fewer.

    Returns
    -------
    np.ndarray [shape=(n_tracks,), dtype=float64, range=[0, 2]]
        0 for a track that is a prototype `nearest` times, 1 for one that has nothing in common with any.

    Raises
    ------
    ParameterError
        Shapes do not match, or a value is out of range or not finite.
    """
    if nearest < 1:
        raise ParameterError(f"nearest must be >= 1; got {nearest}.")
    unit, reference = _unit("embeddings", embeddings), np.asarray(prototypes)
    if reference.ndim != 2 or unit.shape[1] != reference.shape[1] or not len(reference):
        raise ParameterError(f"prototypes must have shape (n > 0, {unit.shape[1]}); got {reference.shape}.")
    precision = np.result_type(reference, np.float32)
    cosines = unit.astype(precision) @ reference.astype(precision, copy=False).T
    distances = np.sort(1 - cosines, axis=1)[:, :nearest]
    return np.clip(distances.mean(axis=1, dtype=np.float64), 0.0, 2.0)


def refusal_threshold(unfamiliarities: np.ndarray, *, share: float = 0.05) -> float:
    """Choose the unfamiliarity above which a track is refused.

    Parameters
    ----------
    unfamiliarities : np.ndarray [shape=(n,)], n > 0
        Of tracks of known genres by artists that the prototypes were not fitted on.
    share : float in [0, 1)
        Largest share of these tracks that may be refused.

    Returns
    -------
    float >= 0
        One of the given values: at most ``floor(share * n)`` are above it.

    Raises
    ------
    ParameterError
        There are none, one is not finite, or `share` is out of range.
    """
    values = np.sort(np.asarray(unfamiliarities, np.float64))
    if values.ndim != 1 or not values.size or not np.isfinite(values).all():
        raise ParameterError(f"unfamiliarities must be finite with shape (n > 0,); got shape {values.shape}.")
    if not 0 <= share < 1:
        raise ParameterError(f"share must be in [0, 1); got {share}.")
    return float(values[len(values) - 1 - int(share * len(values))])


def _unit(name: str, rows: np.ndarray) -> np.ndarray:
    """Return rows of length 1; zeros stay zeros."""
    rows = np.asarray(rows, np.float64)
    if rows.ndim != 2 or not np.isfinite(rows).all():
        raise ParameterError(f"{name} must be finite with shape (n, size); got shape {rows.shape}.")
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), np.finfo(np.float64).tiny)


def _centres(rows: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    if len(rows) <= count:
        return rows
    centres = _start(rows, count, rng)
    assigned = np.full(len(rows), -1)
    for _ in range(_ITERATIONS):
        nearest = (rows @ centres.T).argmax(axis=1)
        if np.array_equal(nearest, assigned):
            break
        assigned = nearest
        sums = np.zeros_like(centres)
        np.add.at(sums, assigned, rows)
        filled = np.bincount(assigned, minlength=len(centres)) > 0
        centres[filled] = _unit("centres", sums[filled])
    return centres


def _start(rows: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """Choose rows that are far from each other."""
    chosen = [int(rng.integers(len(rows)))]
    distance = np.maximum(1 - rows @ rows[chosen[0]], 0)
    while len(chosen) < count and distance.sum() > 0:
        chosen.append(int(rng.choice(len(rows), p=distance / distance.sum())))
        distance = np.minimum(distance, np.maximum(1 - rows @ rows[chosen[-1]], 0))
    return rows[chosen].copy()
