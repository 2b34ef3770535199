"""From a waveform to base log-mel frames, segments of them, and the store that keeps them."""

from genreflow.features.logmel import LogMel, logmel_pieces
from genreflow.features.segments import iter_segments, segment_starts
from genreflow.features.spec import FeatureSpec, FilterBank
from genreflow.features.store import FeatureStore, StoreReport, update

__all__ = [
    "FeatureSpec",
    "FeatureStore",
    "FilterBank",
    "LogMel",
    "StoreReport",
    "iter_segments",
    "logmel_pieces",
    "segment_starts",
    "update",
]
