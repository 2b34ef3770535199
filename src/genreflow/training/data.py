"""From split and feature store to the segments a fit sees."""

from collections.abc import Sequence
from dataclasses import dataclass

from genreflow.datasets.manifest import Manifest
from genreflow.datasets.split import Split
from genreflow.errors import GenreflowError
from genreflow.features.store import FeatureStore
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
    """

    genres: tuple[str, ...]
    train: SegmentSet
    valid: SegmentSet
    length: int
    hop: int

    @property
    def input_shape(self) -> tuple[int, int]:
        return self.length, self.train.pieces[0].shape[1]


def load_training_data(
    store: FeatureStore, manifest: Manifest, split: Split, *, seconds: float, hop_seconds: float
) -> TrainingData:
    """Gather the segments of the training and validation tracks; the test tracks are not touched.

    Parameters
    ----------
    store : FeatureStore
    manifest : Manifest
    split : Split
    seconds, hop_seconds : float > 0 [s]
        Length of a segment, and from one start to the next.
    """
    length, hop = store.spec.frames(seconds), store.spec.frames(hop_seconds)
    return TrainingData(
        genres=tuple(manifest.genres),
        train=segment_set(store, manifest, split.train, length=length, hop=hop, part="train"),
        valid=segment_set(store, manifest, split.valid, length=length, hop=hop, part="valid"),
        length=length,
        hop=hop,
    )


def segment_set(
    store: FeatureStore, manifest: Manifest, track_ids: Sequence[str], *, length: int, hop: int, part: str
) -> SegmentSet:
    """The segments of some tracks; a track whose features could not be computed is left out.

    Raises
    ------
    GenreflowError
        When no track of the part is left.
    """
    tracks = {track.id: track for track in manifest.tracks}
    label_of = {genre: label for label, genre in enumerate(manifest.genres)}
    pieces, labels, track_index = [], [], []
    usable = [tracks[track_id] for track_id in track_ids if tracks[track_id].hash in store]
    if not usable:
        raise GenreflowError(f"The {part} part of the split has no track with features; see data/split.json.")
    for index, track in enumerate(usable):
        for piece in store.pieces(track.hash):
            pieces.append(piece)
            labels.append(label_of[track.genre])
            track_index.append(index)
    return SegmentSet(pieces, labels, track_index, length=length, hop=hop)
