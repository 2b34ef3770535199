"""Measurements of tracks, and what of them the tests for drift compare."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from genreflow.bundle import DriftReference

EMBEDDING, PROBABILITIES = "embedding", "probabilities"
# Those of the log: otherwise a value that is constant would differ from itself.
_DECIMALS = 4


@dataclass(frozen=True)
class Sample:
    """Measurements of tracks, as a `DriftReference` has them.

    Parameters
    ----------
    names : sequence of str
    values : np.ndarray [shape=(n, len(names))]
    probabilities : np.ndarray [shape=(n, n_classes)]
    embeddings : np.ndarray [shape=(n, size)]
        Size 0 if there are none.
    """

    names: Sequence[str]
    values: np.ndarray = field(repr=False)
    probabilities: np.ndarray = field(repr=False)
    embeddings: np.ndarray = field(repr=False)

    @classmethod
    def of(cls, reference: DriftReference) -> "Sample":
        return cls(reference.names, reference.values, reference.probabilities, reference.embeddings)

    def __len__(self) -> int:
        return len(self.values)

    def columns(self) -> dict[str, np.ndarray]:
        """Return the values of each name, an array of shape (n,), with as many decimals as the log has."""
        return dict(zip(self.names, np.round(self.values.astype(float), _DECIMALS).T, strict=True))

    def vectors(self) -> dict[str, np.ndarray]:
        """Return what is compared as a whole, arrays of shape (n, size): `EMBEDDING` and `PROBABILITIES`.

        Embeddings have length 1, so that half their squared distance is the cosine distance; probabilities are square
        roots, so that it is the squared Hellinger distance. Where there are no embeddings, size is 0.
        """
        return {EMBEDDING: _unit(self.embeddings), PROBABILITIES: np.sqrt(self.probabilities)}


def _unit(rows: np.ndarray) -> np.ndarray:
    rows = rows.astype(np.float64)
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
