"""Export musicnn as an ONNX file that takes segments."""

import hashlib
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path

import keras
import numpy as np
import onnx

from genreflow.embedding.checkpoint import COPYRIGHT, LICENCE
from genreflow.embedding.conversion import check_patch_spec, to_patches, with_conversion
from genreflow.embedding.embedder import Embedder
from genreflow.embedding.musicnn import PATCH, build_musicnn
from genreflow.errors import GenreflowError
from genreflow.export.embedder_graph import save_embedder
from genreflow.export.keras_to_onnx import EMBEDDINGS, export_onnx
from genreflow.features.spec import FeatureSpec
from genreflow.files import atomic_file, temporary_path

# Largest difference between the Keras and the ONNX network, relative to the largest value.
TOLERANCE = 1e-5


def export_embedder(
    path: Path,
    weights: Mapping[str, np.ndarray],
    *,
    name: str,
    spec: FeatureSpec,
) -> None:
    """Write musicnn as an ONNX file for `genreflow.embedding.embedder.Embedder`.

    Parameters
    ----------
    path : Path
        Written atomically.
    weights : mapping of str to np.ndarray
        As `genreflow.embedding.checkpoint.read_weights` or `genreflow.embedding.zero_filters.prune` returns them.
    name : str
        Of the weights.
    spec : FeatureSpec
        Of the segments, as `genreflow.embedding.conversion.PATCH_SPEC`.

    Raises
    ------
    ParameterError
        The segments of `spec` cannot be converted.
    GenreflowError
        The ONNX network gives other values than the one in Keras.
    """
    check_patch_spec(spec)
    network = build_musicnn(weights)
    parts = {value: network.output[value] for value in ("penultimate", "max", "mean")}
    model = keras.Model(network.input, keras.layers.Concatenate(name="embeddings")(list(parts.values())))
    with atomic_file(path) as written, temporary_path(path) as exported:
        export_onnx(model, exported, input_name="patches", output_names=[EMBEDDINGS])
        proto = with_conversion(onnx.load(exported), spec)
        description = {
            "name": name,
            "licence": LICENCE,
            "copyright": COPYRIGHT,
            "sha256": weights_sha256(weights),
            "feature_key": spec.key,
            "columns": _columns(parts),
        }
        save_embedder(proto, written, description)
        _check(written, model, spec)


def weights_sha256(weights: Mapping[str, np.ndarray]) -> str:
    """Return the SHA-256, in hex, of weights: names, types, shapes and values. Two exports of them differ in bytes."""
    digest = hashlib.sha256()
    for name, array in sorted(weights.items()):
        digest.update(f"{name} {array.dtype} {array.shape} ".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()


def _columns(parts: dict[str, keras.KerasTensor]) -> dict[str, tuple[int, int]]:
    """Return first and last column of each choice of values."""
    ends = np.cumsum([0, *(part.shape[-1] for part in parts.values())]).tolist()
    columns = dict(zip(parts, pairwise(ends), strict=True))
    return columns | {"both": (columns["max"][0], columns["mean"][1])}


def _check(path: Path, model: keras.Model, spec: FeatureSpec) -> None:
    """Compare the values of a file with those of the Keras network for the same, converted, segments."""
    segments = np.random.default_rng(0).random((3, *PATCH), dtype=np.float32)
    expected = np.asarray(model.predict_on_batch(to_patches(segments, spec)))
    found = Embedder(path).embed(segments)
    difference = float(np.abs(found - expected).max() / np.abs(expected).max())
    if not difference <= TOLERANCE:
        raise GenreflowError(
            f"{path}: its values must differ from those of the Keras network by at most {TOLERANCE:g} of the largest; "
            f"got {difference:.2g}."
        )
