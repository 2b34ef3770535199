"""Predictions for tracks whose features are in a feature store, as the service would give them for the audio."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from genreflow.evaluation.calibration import softmax
from genreflow.features.segments import iter_segments
from genreflow.features.store import FeatureStore
from genreflow.inference.predictor import Predictor


@dataclass(frozen=True)
class TrackPredictions:
    """Class probabilities of tracks and of their segments.

    Parameters
    ----------
    by_segment : np.ndarray [shape=(n_segments, n_classes), dtype=float64], in [0, 1]
    track_index : np.ndarray [shape=(n_segments,), dtype=int]
        The track of each segment: a row of `by_track`.
    by_track : np.ndarray [shape=(n_tracks, n_classes), dtype=float64], in [0, 1]
        Mean of the probabilities of a track's segments.
    unfamiliarity : list of float in [0, 2] or None, length n_tracks
        See `genreflow.inference.prediction.Prediction`.
    """

    by_segment: np.ndarray
    track_index: np.ndarray
    by_track: np.ndarray
    unfamiliarity: list[float | None]


def predict_tracks(
    predictor: Predictor,
    store: FeatureStore,
    keys: Sequence[str],
    *,
    segment_mask: Callable[[str, int], np.ndarray] | None = None,
) -> TrackPredictions:
    """Classify tracks of a feature store.

    Parameters
    ----------
    predictor : Predictor
        Its feature spec must be the store's.
    store : FeatureStore
    keys : sequence of str
        Keys of the tracks in the store; at least one.
    segment_mask : callable, optional
        From the key of a track and its number of segments to a boolean mask of the segments to use, at least one; by
        default all are used.

    Returns
    -------
    TrackPredictions
        Tracks in the order of `keys`.

    Raises
    ------
    KeyError
        A key is not in the store.
    """
    rows, unfamiliarity = [], []
    for key in keys:
        logits, embeddings = zip(*_outputs(predictor, store, key), strict=True)
        probabilities = softmax(np.concatenate(logits), predictor.bundle.temperature)
        values = None if embeddings[0] is None else np.concatenate(embeddings)
        if segment_mask is not None:
            used = segment_mask(key, len(probabilities))
            probabilities, values = probabilities[used], None if values is None else values[used]
        rows.append(probabilities)
        unfamiliarity.append(predictor.unfamiliarity(values))
    return TrackPredictions(
        by_segment=np.concatenate(rows),
        track_index=np.repeat(np.arange(len(rows)), [len(row) for row in rows]),
        by_track=np.stack([row.mean(axis=0) for row in rows]),
        unfamiliarity=unfamiliarity,
    )


def _outputs(predictor: Predictor, store: FeatureStore, key: str) -> Iterator[tuple[np.ndarray, np.ndarray | None]]:
    bundle = predictor.bundle
    for piece in store.pieces(key):  # no segment spans two pieces
        for _, segments, _ in iter_segments([piece], length=bundle.segment_frames, hop=bundle.segment_hop):
            yield predictor.run(segments)
