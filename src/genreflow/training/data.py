"""Training and validation segments of a project, from its split and feature store."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

import numpy as np

from genreflow.errors import GenreflowError
from genreflow.features.segments import segment_starts
from genreflow.features.store import FeatureStore
from genreflow.manifest.manifest import Manifest
from genreflow.manifest.track import Part
from genreflow.models import FrontEnd
from genreflow.splits.split import Split
from genreflow.training.params import SegmentParams
from genreflow.training.segment_set import SegmentSet


@dataclass(frozen=True)
class TrainingData:
    """Training and validation segments, and what a model has to know of them.

    Parameters
    ----------
    genres : tuple of str
        Label ``i`` is ``genres[i]``.
    train, valid : SegmentSet
    length, hop : int > 0 [frames]
        Of a segment.
    front_end : FrontEnd
        What a model sees of a segment; by default as each architecture has it.
    """

    genres: tuple[str, ...]
    train: SegmentSet
    valid: SegmentSet
    length: int
    hop: int
    front_end: FrontEnd = field(default_factory=FrontEnd)

    @property
    def input_shape(self) -> tuple[int, int]:
        """Frames and mel bands of a segment."""
        return self.length, self.train.n_mels


def load_training_data(store: FeatureStore, manifest: Manifest, split: Split, segments: SegmentParams) -> TrainingData:
    """Open the segments of the training and validation tracks; the test tracks are not read.

    Parameters
    ----------
    store : FeatureStore
    manifest : Manifest
    split : Split
    segments : SegmentParams

    Raises
    ------
    GenreflowError
        No training or no validation track has features.
    """
    length, hop = store.spec.frames(segments.seconds), store.spec.frames(segments.hop_seconds)
    return TrainingData(
        genres=tuple(manifest.genres),
        train=load_segment_set(store, manifest, split, "train", length=length, hop=hop, track_cap=segments.track_cap),
        valid=load_segment_set(store, manifest, split, "valid", length=length, hop=hop),
        length=length,
        hop=hop,
        front_end=segments.front_end,
    )


def load_segment_set(
    store: FeatureStore,
    manifest: Manifest,
    split: Split,
    part: Part,
    *,
    length: int,
    hop: int,
    track_cap: float | None = None,
) -> SegmentSet:
    """Open the segments of one part of a split; tracks without features are left out.

    Where the split assigns the segments of one track to several parts, each segment of this part becomes a piece of its
    own. Random crops, which start anywhere in a piece, then stay within these segments, and band statistics are those
    of this part alone.

    Parameters
    ----------
    store : FeatureStore
    manifest : Manifest
    split : Split
    part : {"train", "valid", "test"}
    length, hop : int > 0 [frames]
    track_cap : float >= 1 or None
        See `SegmentSet`.

    Raises
    ------
    GenreflowError
        No track of the part has features.
    """
    label_of = {genre: label for label, genre in enumerate(manifest.genres)}
    mask = split.segment_mask(part)
    pieces: list[np.ndarray] = []
    labels: list[int] = []
    track_index: list[int] = []
    for track in (manifest.by_id[track_id] for track_id in split.parts[part]):
        if track.hash is None or track.hash not in store:
            continue
        own = store.pieces(track.hash)
        if mask is not None:
            own = _selected_segments(own, partial(mask, track.hash), length, hop)
        if own:
            track_index += [track_index[-1] + 1 if track_index else 0] * len(own)
            labels += [label_of[track.genre]] * len(own)
            pieces += own
    if not pieces:
        raise GenreflowError(
            f"data/split.json: the {part} part must have at least one track with features; got none of "
            f"{len(split.parts[part])}."
        )
    return SegmentSet(pieces, labels, track_index, length=length, hop=hop, track_cap=track_cap)


def _selected_segments(
    pieces: list[np.ndarray], mask: Callable[[int], np.ndarray], length: int, hop: int
) -> list[np.ndarray]:
    """Views of the segments that ``mask(n_segments)`` selects."""
    segments = [piece[start : start + length] for piece in pieces for start in segment_starts(len(piece), length, hop)]
    return [segment for segment, use in zip(segments, mask(len(segments)), strict=True) if use]
