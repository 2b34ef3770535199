"""Export a fitted and calibrated model as a bundle."""

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np

from genreflow.bundle import WEIGHTS, Bundle, write_bundle
from genreflow.embedding.embedder import Embedder
from genreflow.export.keras_to_onnx import check_parity, export_with_embedder
from genreflow.features.spec import FeatureSpec, FilterBank
from genreflow.files import temporary_path


def export_bundle(
    model: keras.Model,
    directory: Path,
    *,
    segments: np.ndarray,
    labels: Sequence[str],
    spec: FeatureSpec,
    bank: FilterBank,
    segment_frames: int,
    segment_hop: int,
    temperature: float,
    abstain_below: float,
    lineage: Mapping[str, Any],
    embedder: Embedder | None = None,
) -> tuple[Bundle, float]:
    """Export a model to ONNX, check that the ONNX and the Keras model give the same logits, and write a bundle.

    Parameters
    ----------
    model : keras.Model
    directory : Path
        Of the bundle; replaced once the new bundle is complete.
    segments : np.ndarray [shape=(n, segment_frames, n_mels), range=[0, 1]]
        Model input on which the two are compared.
    labels : sequence of str
        Genres in the order of the logits.
    spec : FeatureSpec
    bank : FilterBank
        Of `spec`.
    segment_frames, segment_hop : int > 0 [frames]
    temperature : float > 0
    abstain_below : float in [0, 1]
    lineage : mapping
        Written to ``bundle.json``, with the hash of the weights.
    embedder : Embedder or None
        What computes the embeddings that the model takes, which then is part of the graph; None: it takes segments.

    Returns
    -------
    bundle : Bundle
    difference : float >= 0
        Largest difference of a logit, see `check_parity`.

    Raises
    ------
    GenreflowError
        The logits differ by more than the tolerance.
    """
    with temporary_path(directory) as folder:
        folder.mkdir()
        onnx_path, keras_path = folder / "model.onnx", folder / "model.keras"
        export_with_embedder(model, onnx_path, embedder.path if embedder else None)
        difference = check_parity(model, onnx_path, segments, embedder=embedder)
        model.save(keras_path)
        bundle = write_bundle(
            directory,
            onnx=onnx_path,
            keras_path=keras_path,
            labels=tuple(labels),
            spec=spec,
            bank=bank,
            segment_frames=segment_frames,
            segment_hop=segment_hop,
            temperature=temperature,
            abstain_below=abstain_below,
            architecture=model.name,
            embedder=embedder.description if embedder else None,
            lineage={**lineage, WEIGHTS: weights_hash(model, embedder)},
        )
    return bundle, difference


def weights_hash(model: keras.Model, embedder: Embedder | None = None) -> str:
    """Return the SHA-256, in hex, of the weights of a model: types, shapes and values, in their order.

    An embedder in front of it is included.
    """
    digest = hashlib.sha256()
    for array in model.get_weights():
        digest.update(f"{array.dtype} {array.shape} ".encode())
        digest.update(array.tobytes())
    if embedder:
        digest.update(embedder.description["sha256"].encode())
    return digest.hexdigest()
