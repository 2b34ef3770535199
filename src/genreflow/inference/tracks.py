"""The answers of a bundle, as it will be served, to tracks whose features are in the store."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from genreflow.evaluation.calibration import softmax
from genreflow.features.segments import iter_segments
from genreflow.features.store import FeatureStore
from genreflow.inference.predictor import Predictor


@dataclass(frozen=True)
class Answers:
    """Answers to some tracks.

    Parameters
    ----------
    by_segment : np.ndarray [shape=(n_segments, c)]
        Probabilities.
    track_index : np.ndarray [shape=(n_segments,), dtype=int]
        The track of each segment.
    by_track : np.ndarray [shape=(n_tracks, c)]
        Mean of the probabilities over a track's segments.
    """

    by_segment: np.ndarray
    track_index: np.ndarray
    by_track: np.ndarray


def answers(
    predictor: Predictor,
    store: FeatureStore,
    keys: Sequence[str],
    *,
    chosen: Callable[[str, int], np.ndarray] | None = None,
) -> Answers:
    """Classify tracks of a feature store with the net and temperature of a bundle.

    Parameters
    ----------
    predictor : Predictor
        Its feature spec must be the store's.
    store : FeatureStore
    keys : sequence of str
        Keys of the store, one a track.
    chosen : callable, optional
        From a track's key and its number of segments to a mask of those that count, at least one; by default all do.
    """
    rows = [softmax(np.concatenate(list(_logits(predictor, store, key))), predictor.bundle.temperature) for key in keys]
    if chosen is not None:
        rows = [row[chosen(key, len(row))] for key, row in zip(keys, rows, strict=True)]
    return Answers(
        by_segment=np.concatenate(rows),
        track_index=np.repeat(np.arange(len(rows)), [len(row) for row in rows]),
        by_track=np.stack([row.mean(axis=0) for row in rows]),
    )


def _logits(predictor: Predictor, store: FeatureStore, key: str) -> Iterator[np.ndarray]:
    bundle = predictor.bundle
    for piece in store.pieces(key):  # segments never cross the pieces of a track
        for _, segments, _ in iter_segments([piece], length=bundle.segment_frames, hop=bundle.segment_hop):
            yield predictor.logits(segments)
