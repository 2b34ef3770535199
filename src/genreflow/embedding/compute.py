"""Compute the embeddings of all tracks in a feature store."""

import math
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np

from genreflow.embedding.embedder import BATCH, Embedder
from genreflow.embedding.store import EmbeddingSpec
from genreflow.features.segments import iter_segments
from genreflow.features.spec import FeatureSpec
from genreflow.features.store import FeatureStore
from genreflow.features.update import StoreReport, update


def segment_hop(spec: FeatureSpec, length: int) -> int:
    """Return the hop at which the fewest segments cover a clip [frames].

    Up to a tenth of a segment may be left out, so that the last segment does not repeat most of the one before it.

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
    number = math.ceil(spec.frames_per_clip / length - 0.1)
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
    compute = partial(embed_pieces, network=opened, spec=spec)
    items = ((key, features.pieces(key)) for key in features)
    return update(directory, spec, items, compute, n_jobs=n_jobs, progress=progress, description="embeddings")


def embed_pieces(pieces: Sequence[np.ndarray], *, network: Embedder, spec: EmbeddingSpec) -> list[np.ndarray]:
    """Compute the embeddings of a track.

    Parameters
    ----------
    pieces : sequence of np.ndarray [shape=(frames, n_mels), dtype=uint8]
    network : Embedder
    spec : EmbeddingSpec

    Returns
    -------
    list of np.ndarray [shape=(segments, size), dtype=float16]
        Of each piece. One that is shorter than a segment is padded with 0.
    """
    embeddings = []
    for piece in pieces:
        batches = iter_segments([piece], length=spec.length, hop=spec.hop, batch=BATCH)
        rows = [network.embed(segments) for _, segments, _ in batches]
        embeddings.append(np.concatenate(rows).astype(spec.row_type))
    return embeddings
