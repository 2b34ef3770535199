"""From a fitted model, calibrated already, to its bundle."""

import tempfile
from collections.abc import Sequence
from pathlib import Path

import keras
import numpy as np

from genreflow.bundle import Bundle, write_bundle
from genreflow.export.keras_to_onnx import check_agreement, export_onnx
from genreflow.features.spec import FeatureSpec, FilterBank


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
    lineage: dict,
) -> tuple[Bundle, float]:
    """Export a model to ONNX, check that both give the same logits, and write the bundle.

    Parameters
    ----------
    model : keras.Model
    directory : Path
        Of the bundle; what stood there is replaced once the new bundle is complete.
    segments : np.ndarray [shape=(n, segment_frames, n_mels)]
        Model input on which the two are compared.
    labels : sequence of str
        Genres in the order of the logits.
    spec : FeatureSpec
    bank : FilterBank
        Of `spec`.
    segment_frames, segment_hop : int > 0 [frames]
    temperature : float > 0
    abstain_below : float in [0, 1]
    lineage : dict

    Returns
    -------
    bundle : Bundle
    difference : float >= 0
        Largest difference of a logit, see `check_agreement`.

    Raises
    ------
    GenreflowError
        The exported net does not give the model's logits.
    """
    directory.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=directory.parent, prefix=f".{directory.name}-") as folder:
        onnx_path, keras_path = Path(folder, "model.onnx"), Path(folder, "model.keras")
        export_onnx(model, onnx_path)
        difference = check_agreement(model, onnx_path, segments)
        model.save(keras_path)
        bundle = write_bundle(
            directory,
            onnx=onnx_path,
            keras_path=keras_path,
            labels=labels,
            spec=spec,
            bank=bank,
            segment_frames=segment_frames,
            segment_hop=segment_hop,
            temperature=temperature,
            abstain_below=abstain_below,
            architecture=model.name,
            lineage=lineage,
        )
    return bundle, difference
