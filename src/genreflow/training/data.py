"""Training and validation segments of a project, from its split and feature store."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Generic, TypeVar

import numpy as np

from genreflow.embedding.embedder import Embedder
from genreflow.embedding.store import EmbeddingStore
from genreflow.errors import GenreflowError
from genreflow.features.segments import segment_starts
from genreflow.features.store import FeatureStore, RowStore
from genreflow.manifest.manifest import Manifest
from genreflow.manifest.track import Part
from genreflow.models import FrontEnd
from genreflow.splits.split import Split
from genreflow.training.embedding_set import EmbeddingSet
from genreflow.training.labelled_segments import TrainableSegments
from genreflow.training.params import SegmentParams
from genreflow.training.segment_set import SegmentSet

S = TypeVar("S", bound=TrainableSegments)


@dataclass(frozen=True)
class TrainingData(Generic[S]):
    """Training and validation segments, and what a model has to know of them.

    Parameters
    ----------
    genres : tuple of str
        Label ``i`` is ``genres[i]``.
    train, valid : SegmentSet or EmbeddingSet
        What a model is fitted to and validated on.
    valid_segments : SegmentSet
        The segments of the validation tracks: `valid`, or what its embeddings were computed from.
    length, hop : int > 0 [frames]
        Of a segment.
    front_end : FrontEnd
        What a model sees of a segment; by default as each architecture has it.
    embedder : Embedder or None
        What computed the embeddings, if the model takes those.
    """

    genres: tuple[str, ...]
    train: S
    valid: S
    valid_segments: SegmentSet
    length: int
    hop: int
    front_end: FrontEnd = field(default_factory=FrontEnd)
    embedder: Embedder | None = None

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Frames and mel bands of a segment, or the size of an embedding."""
        return self.train.segment_shape


def load_training_data(
    store: FeatureStore, manifest: Manifest, split: Split, segments: SegmentParams
) -> TrainingData[SegmentSet]:
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
    train = load_segment_set(store, manifest, split, "train", length=length, hop=hop, track_cap=segments.track_cap)
    valid = load_segment_set(store, manifest, split, "valid", length=length, hop=hop)
    # Other references are levels of the clip itself, so its absolute level is not in the frames.
    peak = train.mean_peak() if store.spec.level_reference == "full_scale" else None
    return TrainingData(
        genres=tuple(manifest.genres),
        train=train,
        valid=valid,
        valid_segments=valid,
        length=length,
        hop=hop,
        front_end=replace(segments.front_end, peak=peak),
    )


def load_embedding_data(
    store: FeatureStore,
    embeddings: EmbeddingStore,
    embedder: Embedder,
    manifest: Manifest,
    split: Split,
    *,
    track_cap: float | None,
) -> TrainingData[EmbeddingSet]:
    """Read the embeddings of the training and validation tracks; those of the test tracks are not read.

    Parameters
    ----------
    store : FeatureStore
    embeddings : EmbeddingStore
        Of the tracks in `store`.
    embedder : Embedder
        What computed them.
    manifest : Manifest
    split : Split
    track_cap : float >= 1 or None
        See `SegmentSet`.

    Raises
    ------
    GenreflowError
        No training or no validation track has embeddings.
    """
    length, hop = embeddings.spec.length, embeddings.spec.hop
    return TrainingData(
        genres=tuple(manifest.genres),
        train=load_embedding_set(embeddings, manifest, split, "train", track_cap=track_cap),
        valid=load_embedding_set(embeddings, manifest, split, "valid"),
        valid_segments=load_segment_set(store, manifest, split, "valid", length=length, hop=hop),
        length=length,
        hop=hop,
        embedder=embedder,
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
    mask = split.segment_mask(part)
    pieces: list[np.ndarray] = []
    labels: list[int] = []
    track_index: list[int] = []
    for key, label, index in _tracks(store, manifest, split, part):
        own = store.pieces(key)
        if mask is not None:
            own = _selected_segments(own, partial(mask, key), length, hop)
        labels += [label] * len(own)
        track_index += [index] * len(own)
        pieces += own
    _require(pieces, split, part)
    return SegmentSet(pieces, labels, _without_gaps(track_index), length=length, hop=hop, track_cap=track_cap)


def load_embedding_set(
    store: EmbeddingStore, manifest: Manifest, split: Split, part: Part, *, track_cap: float | None = None
) -> EmbeddingSet:
    """Read the embeddings of one part of a split; tracks without embeddings are left out.

    Parameters
    ----------
    store : EmbeddingStore
    manifest : Manifest
    split : Split
    part : {"train", "valid", "test"}
    track_cap : float >= 1 or None
        See `SegmentSet`.

    Raises
    ------
    GenreflowError
        No track of the part has embeddings.
    """
    mask = split.segment_mask(part)
    rows: list[np.ndarray] = []
    labels: list[int] = []
    track_index: list[int] = []
    for key, label, index in _tracks(store, manifest, split, part):
        own = np.concatenate(store.pieces(key))
        own = own if mask is None else own[mask(key, len(own))]
        rows.append(own)
        labels += [label] * len(own)
        track_index += [index] * len(own)
    _require(track_index, split, part)
    ids = split.parts[part]
    return EmbeddingSet(
        np.concatenate(rows),
        np.array(labels),
        _without_gaps(track_index),
        track_cap=track_cap,
        track_groups=np.array([split.groups[ids[index]] for index in np.unique(track_index)]),
    )


def _tracks(store: RowStore, manifest: Manifest, split: Split, part: Part) -> Iterator[tuple[str, int, int]]:
    """Yield key, label and position of each track of a part that is in a store."""
    label_of = {genre: label for label, genre in enumerate(manifest.genres)}
    for index, track in enumerate(manifest.by_id[track_id] for track_id in split.parts[part]):
        if track.hash is not None and track.hash in store:
            yield track.hash, label_of[track.genre], index


def _without_gaps(track_index: list[int]) -> np.ndarray:
    """Number tracks from 0 in the same order, where some have no segment."""
    return np.unique(track_index, return_inverse=True)[1]


def _require(found: list, split: Split, part: Part) -> None:
    if not found:
        raise GenreflowError(
            f"data/split.json: the {part} part must have at least one track with features; got none of "
            f"{len(split.parts[part])}."
        )


def _selected_segments(
    pieces: list[np.ndarray], mask: Callable[[int], np.ndarray], length: int, hop: int
) -> list[np.ndarray]:
    """Views of the segments that ``mask(n_segments)`` selects."""
    segments = [piece[start : start + length] for piece in pieces for start in segment_starts(len(piece), length, hop)]
    return [segment for segment, use in zip(segments, mask(len(segments)), strict=True) if use]
