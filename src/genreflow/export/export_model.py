"""Export a fitted model as the files of a bundle."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np

from genreflow.embedding.embedder import Embedder
from genreflow.export.embedder_graph import merge_head
from genreflow.export.keras_to_onnx import EMBEDDINGS, LOGITS, check_parity, export_onnx
from genreflow.files import temporary_path
from genreflow.models.penultimate import with_penultimate_values


@dataclass(frozen=True)
class ExportedModel:
    """A model as files, from which `genreflow.bundle.write_bundle` makes a bundle.

    Parameters
    ----------
    onnx_path : Path
        From ``segments`` to ``logits`` and ``embeddings``.
    keras_path : Path
        The Keras model, without its embedder; training can continue from it.
    architecture : str
    weights_hash : str
        SHA-256 of the weights: exports of the same weights differ.
    difference : float >= 0
        Largest difference of a logit between the two files, see `check_parity`.
    """

    onnx_path: Path
    keras_path: Path
    architecture: str
    weights_hash: str
    difference: float


def export_model(
    model: keras.Model, folder: Path, segments: np.ndarray, *, embedder: Embedder | None = None
) -> ExportedModel:
    """Export a model to ONNX as a bundle contains it, and check that both models agree.

    Parameters
    ----------
    model : keras.Model
        From `genreflow.models.build_model`.
    folder : Path
        Where the files are written.
    segments : np.ndarray [shape=(n, segment_frames, n_mels), range=[0, 1]]
        Model input on which the two are compared.
    embedder : Embedder or None
        What computes the embeddings that the model takes, which then is part of the graph; None: it takes segments.

    Raises
    ------
    GenreflowError
        The outputs differ by more than the tolerance.
    """
    onnx_path, keras_path = folder / "model.onnx", folder / "model.keras"
    exported = export_with_embeddings(model, onnx_path, embedder.path if embedder else None)
    difference = check_parity(exported, onnx_path, segments, embedder=embedder)
    model.save(keras_path)
    return ExportedModel(onnx_path, keras_path, model.name, weights_hash(model, embedder), difference)


def export_with_embeddings(model: keras.Model, path: Path, embedder: Path | None = None) -> keras.Model:
    """Write a model as the graph that a bundle contains: from segments to logits and embeddings.

    Parameters
    ----------
    model : keras.Model
        From `genreflow.models.build_model`.
    path : Path
        Written atomically.
    embedder : Path or None
        A file for `genreflow.embedding.embedder.Embedder` that computes what the model takes, and the embeddings; None:
        the model takes segments, and the embeddings are its penultimate values.

    Returns
    -------
    keras.Model
        The same model, with the embeddings as a second output if it computes them.
    """
    if embedder is None:
        both = with_penultimate_values(model)
        export_onnx(both, path, output_names=[LOGITS, EMBEDDINGS])
        return both
    with temporary_path(path) as head:
        export_onnx(model, head, input_name=EMBEDDINGS)
        merge_head(embedder, head, path)
    return model


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
