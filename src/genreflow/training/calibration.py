"""Calibrate a fitted model on the validation segments, and export it with what was found."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np

from genreflow.bundle import WEIGHTS, Bundle, write_bundle
from genreflow.evaluation.calibration import abstention_threshold, fit_temperature, softmax, track_probabilities
from genreflow.export.export_model import export_model
from genreflow.features.spec import FeatureSpec, FilterBank
from genreflow.files import temporary_path
from genreflow.training.data import TrainingData
from genreflow.training.familiarity_reference import make_familiarity
from genreflow.training.fit import predict_logits
from genreflow.training.labelled_segments import TrainableSegments

# Segments on which the exported model is compared with the Keras model.
PARITY_SEGMENTS = 64


@dataclass(frozen=True)
class Calibration:
    """How logits become probabilities and predictions.

    Parameters
    ----------
    temperature : float > 0
        Divides the logits before the softmax.
    abstain_below : float in [0, 1]
        Confidence of a track under which the model abstains.
    """

    temperature: float
    abstain_below: float


def calibrate(model: keras.Model, valid: TrainableSegments, *, abstain_below: float | None) -> Calibration:
    """Fit temperature and abstention threshold to validation tracks.

    Parameters
    ----------
    model : keras.Model
    valid : SegmentSet or EmbeddingSet
    abstain_below : float in [0, 1] or None
        Given threshold; None: `genreflow.evaluation.calibration.abstention_threshold`.

    Returns
    -------
    Calibration
    """
    logits = predict_logits(model, valid)
    temperature = fit_temperature(logits, valid.track_labels, valid.track)
    if abstain_below is None:
        by_track = track_probabilities(softmax(logits, temperature), valid.track, valid.n_tracks)
        abstain_below = abstention_threshold(by_track, valid.track_labels)
    return Calibration(temperature, abstain_below)


def calibrate_and_export(
    model: keras.Model,
    data: TrainingData,
    directory: Path,
    *,
    spec: FeatureSpec,
    bank: FilterBank,
    abstain_below: float | None,
    refuse_above: float | None,
    lineage: Mapping[str, Any],
) -> tuple[Bundle, dict[str, float]]:
    """Calibrate a fitted model on the validation tracks, export it, and write its bundle.

    Parameters
    ----------
    model : keras.Model
    data : TrainingData
    directory : Path
        Of the bundle; replaced once the new bundle is complete.
    spec : FeatureSpec
    bank : FilterBank
        Of `spec`.
    abstain_below : float in [0, 1] or None
        See `calibrate`.
    refuse_above : float in [0, 2] or None
        See `make_familiarity`.
    lineage : mapping
        Written to ``bundle.json``, with the hash of the weights.

    Returns
    -------
    bundle : Bundle
    metrics : dict
        ``temperature``, ``abstain_below``, ``refuse_above`` and ``onnx_difference``, the largest difference of a logit.

    Raises
    ------
    GenreflowError
        The exported model and the Keras model differ.
    """
    calibration = calibrate(model, data.valid, abstain_below=abstain_below)
    familiarity = make_familiarity(model, data, refuse_above=refuse_above)
    n = data.valid_segments.n_segments
    evenly_spaced = np.linspace(0, n - 1, min(PARITY_SEGMENTS, n)).astype(int)
    with temporary_path(directory) as folder:
        folder.mkdir()
        exported = export_model(model, folder, data.valid_segments.segments(evenly_spaced), embedder=data.embedder)
        bundle = write_bundle(
            directory,
            onnx=exported.onnx_path,
            keras_path=exported.keras_path,
            labels=data.genres,
            spec=spec,
            bank=bank,
            segment_frames=data.length,
            segment_hop=data.hop,
            temperature=calibration.temperature,
            abstain_below=calibration.abstain_below,
            familiarity=familiarity,
            architecture=exported.architecture,
            embedder=data.embedder.description if data.embedder else None,
            lineage={**lineage, WEIGHTS: exported.weights_hash},
        )
    return bundle, {
        "temperature": calibration.temperature,
        "abstain_below": calibration.abstain_below,
        "refuse_above": familiarity.refuse_above,
        "onnx_difference": exported.difference,
    }
