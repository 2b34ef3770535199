"""From split and feature store to the segments a fit sees."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np

from genreflow.errors import GenreflowError
from genreflow.features.segments import segment_starts
from genreflow.features.store import FeatureStore
from genreflow.manifest.manifest import Manifest
from genreflow.manifest.track import Part
from genreflow.models import AS_PUBLISHED, FrontEnd
from genreflow.splits.split import Split
from genreflow.training.batches import SegmentSet


@dataclass(frozen=True)
class TrainingData:
    """Training and validation segments, and what the model has to know of them.

    Parameters
    ----------
    genres : tuple of str
        Label i is ``genres[i]``.
    train, valid : SegmentSet
        Views into the feature store.
    length, hop : int > 0 [frames]
        Of a segment.
    front : FrontEnd
        What a model sees of a segment, where that is not to be as the architecture has it.
    """

    genres: tuple[str, ...]
    train: SegmentSet
    valid: SegmentSet
    length: int
    hop: int
    front: FrontEnd = AS_PUBLISHED

    @property
    def input_shape(self) -> tuple[int, int]:
        return self.length, self.train.pieces[0].shape[1]


def load_training_data(
    store: FeatureStore,
    manifest: Manifest,
    split: Split,
    *,
    seconds: float,
    hop_seconds: float,
    front: FrontEnd = AS_PUBLISHED,
) -> TrainingData:
    """Gather the segments of the training and validation tracks; the test tracks are not touched.

    Parameters
    ----------
    store : FeatureStore
    manifest : Manifest
    split : Split
    seconds, hop_seconds : float > 0 [s]
        Length of a segment, and from one start to the next.
    front : FrontEnd
        By default as each architecture has it.
    """
    length, hop = store.spec.frames(seconds), store.spec.frames(hop_seconds)
    return TrainingData(
        genres=tuple(manifest.genres),
        train=segment_set(store, manifest, split, "train", length=length, hop=hop),
        valid=segment_set(store, manifest, split, "valid", length=length, hop=hop),
        length=length,
        hop=hop,
        front=front,
    )


def segment_set(
    store: FeatureStore, manifest: Manifest, split: Split, part: Part, *, length: int, hop: int
) -> SegmentSet:
    """The segments of a part; a track whose features could not be computed is left out.

    Where the split deals the segments of a track to several parts, each segment of this part is a piece of its own: a
    random crop, which starts anywhere in its piece, then stays within the frames of the segment, and the statistics
    for standardisation are those of this part's segments alone.

    Raises
    ------
    GenreflowError
        When no track of the part is left.
    """
    label_of = {genre: label for label, genre in enumerate(manifest.genres)}
    chosen = split.segment_mask(part)
    pieces, labels, track_index = [], [], []
    for track in (manifest.by_id[track_id] for track_id in split.parts[part]):
        if track.hash not in store:
            continue
        own = store.pieces(track.hash)
        if chosen is not None:
            own = _segments_as_pieces(own, partial(chosen, track.hash), length, hop)
        if own:
            track_index += [track_index[-1] + 1 if track_index else 0] * len(own)
            labels += [label_of[track.genre]] * len(own)
            pieces += own
    if not pieces:
        raise GenreflowError(f"The {part} part of the split has no track with features; see data/split.json.")
    return SegmentSet(pieces, labels, track_index, length=length, hop=hop)


def _segments_as_pieces(
    pieces: list[np.ndarray], chosen: Callable[[int], np.ndarray], length: int, hop: int
) -> list[np.ndarray]:
    """Views of the chosen segments; `chosen` gives a mask of as many as there are."""
    segments = [piece[start : start + length] for piece in pieces for start in segment_starts(len(piece), length, hop)]
    return [segment for segment, mine in zip(segments, chosen(len(segments)), strict=True) if mine]
