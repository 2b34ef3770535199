"""Compute the embeddings of all tracks in a feature store."""

import math
from functools import lru_cache, partial
from pathlib import Path

import numpy as np

from genreflow.embedding.embedder import BATCH, Embedder
from genreflow.embedding.store import EmbeddingSpec
from genreflow.features.segments import iter_segments
from genreflow.features.spec import FeatureSpec
from genreflow.features.store import FeatureStore
from genreflow.features.update import StoreReport, update


def segment_hop(spec: FeatureSpec, length: int) -> int:
    """Return the hop at which the fewest segments cover a clip without one that repeats most of another [frames].

    Parameters
    ----------
    spec : FeatureSpec
    length : int > 0 [frames]
        Of a segment.

    Examples
    --------
    >>> spec = FeatureSpec(sample_rate=16000, n_fft=512, hop_length=256, n_mels=96, fmax=8000)
    >>> segment_hop(spec, 187)  # 1,876 frames: ten segments, the last one ends with the clip
    188
    """
    number = spec.frames_per_clip // length
    return math.ceil((spec.frames_per_clip - length) / (number - 1)) if number > 1 else length


def update_embeddings(
    directory: Path, features: FeatureStore, embedder: Path, *, n_jobs: int = -1, progress: bool = True
) -> StoreReport:
    """Update an embedding store to the tracks of a feature store; only new tracks are computed.

    Parameters
    ----------
    directory : Path
        Of the embedding store.
    features : FeatureStore
        Its spec must be the one that the embedder was written for.
    embedder : Path
        A file for `Embedder`.
    n_jobs : int
        Number of workers, as in joblib: -1 is one per core.
    progress : bool
        Show a progress bar.

    Returns
    -------
    StoreReport

    Raises
    ------
    GenreflowError
        The file is no embedder.
    """
    opened = Embedder(embedder)
    spec = EmbeddingSpec(
        embedder=opened.description["sha256"],
        feature_key=features.spec.key,
        length=opened.length,
        hop=segment_hop(features.spec, opened.length),
        size=opened.size,
    )
    compute = partial(embed_track, spec=spec, embedder=embedder, features=features.directory)
    items = ((key, key) for key in features)
    return update(directory, spec, items, compute, n_jobs=n_jobs, progress=progress, description="embeddings")


def embed_track(key: str, *, spec: EmbeddingSpec, embedder: Path, features: Path) -> list[np.ndarray]:
    """Compute the embeddings of a track.

    Parameters
    ----------
    key : str
        Of the track in the feature store.
    spec : EmbeddingSpec
    embedder : Path
        A file for `Embedder`.
    features : Path
        Of the feature store.

    Returns
    -------
    list of np.ndarray [shape=(segments, size), dtype=float16]
        Of each piece of the track. A piece shorter than a segment is padded with 0.
    """
    network, store = _open(embedder, features, spec.key)
    return [_embed_piece(network, piece, spec) for piece in store.pieces(key)]


@lru_cache(maxsize=1)
def _open(embedder: Path, features: Path, _key: str) -> tuple[Embedder, FeatureStore]:
    """Open both once in each process; `update` calls `embed_track` in other ones where there are many cores."""
    return Embedder(embedder), FeatureStore.open(features)


def _embed_piece(network: Embedder, piece: np.ndarray, spec: EmbeddingSpec) -> np.ndarray:
    batches = iter_segments([piece], length=spec.length, hop=spec.hop, batch=BATCH)
    return np.concatenate([network.embed(segments) for _, segments, _ in batches]).astype(spec.row_type)
