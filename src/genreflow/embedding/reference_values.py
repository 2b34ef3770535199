"""The values of an embedder by which unfamiliar music is recognised."""

from collections.abc import Mapping

import numpy as np

# Values and weights. The distance of penultimate values is larger for music of other genres, that of maxima for sounds
# that are no music; together they are better than either at both (docs/experiments.md).
WEIGHTS = {"penultimate": 1.0, "max": 3.0}


def reference_values(embeddings: np.ndarray, columns: Mapping[str, tuple[int, int]]) -> np.ndarray:
    """Return the values whose cosine distances tell how unlike its training music a segment is.

    Parameters
    ----------
    embeddings : np.ndarray [shape=(n, size)]
    columns : mapping of str to tuple of two int
        First and last column of each choice of values, as `genreflow.embedding.embedder.Embedder` has them.

    Returns
    -------
    np.ndarray [shape=(n, n_values), dtype=float32]
        The values of `WEIGHTS` side by side, each of the length of its weight; the penultimate values as they are if
        the embedder has no others.
    """
    parts = [(embeddings[:, slice(*columns[name])].astype(np.float32), weight) for name, weight in used(columns)]
    if len(parts) == 1:
        return parts[0][0]
    lengths = [np.maximum(np.linalg.norm(values, axis=1, keepdims=True), np.finfo("f4").tiny) for values, _ in parts]
    scaled = [weight * values / length for (values, weight), length in zip(parts, lengths, strict=True)]
    return np.concatenate(scaled, axis=1)


def used(columns: Mapping[str, tuple[int, int]]) -> list[tuple[str, float]]:
    """Return those of `WEIGHTS` that an embedder has."""
    return [(name, weight) for name, weight in WEIGHTS.items() if name in columns]
