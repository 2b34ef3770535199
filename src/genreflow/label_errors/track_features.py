"""The features by which the tracks of a collection are judged."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from genreflow.baselines.summary_statistics import track_statistics
from genreflow.embedding.embedder import Embedder
from genreflow.embedding.store import EmbeddingStore
from genreflow.features.store import FeatureStore, RowStore

# Values of an embedder; docs/experiments.md compares them.
VALUES = "penultimate"


@dataclass(frozen=True)
class TrackFeatures:
    """Features of the tracks of a collection.

    Parameters
    ----------
    name : str
        For the report.
    store : RowStore
        It has the tracks that have features, by their hashes.
    compute : callable
        Maps the hash of a track to its features [shape=(n_features,)].
    """

    name: str
    store: RowStore
    compute: Callable[[str], np.ndarray]


def summary_features(store: FeatureStore) -> TrackFeatures:
    """Return the summary statistics of the tracks' log-mel frames."""
    return TrackFeatures("summary statistics of the log-mel", store, lambda key: track_statistics(store.pieces(key)))


def embedding_features(store: EmbeddingStore, embedder: Embedder) -> TrackFeatures:
    """Return the mean embedding of each track over its segments."""
    first, last = embedder.columns[VALUES]

    def mean(key: str) -> np.ndarray:
        return np.concatenate(store.pieces(key))[:, first:last].mean(axis=0, dtype=np.float64)

    return TrackFeatures(f"embeddings ({embedder.description['name']}, {VALUES} values)", store, mean)
