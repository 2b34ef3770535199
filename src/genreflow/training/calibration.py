"""Calibrate a fitted model on the validation segments, and export it with what was found."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np

from genreflow.bundle import Bundle
from genreflow.evaluation.calibration import abstention_threshold, fit_temperature, softmax, track_probabilities
from genreflow.export.export_bundle import export_bundle
from genreflow.features.spec import FeatureSpec, FilterBank
from genreflow.training.data import TrainingData
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
    lineage : mapping
        Written to ``bundle.json``.

    Returns
    -------
    bundle : Bundle
    metrics : dict
        ``temperature``, ``abstain_below`` and ``onnx_difference``, the largest difference of a logit.

    Raises
    ------
    GenreflowError
        The exported model and the Keras model differ.
    """
    calibration = calibrate(model, data.valid, abstain_below=abstain_below)
    n = data.valid_segments.n_segments
    evenly_spaced = np.linspace(0, n - 1, min(PARITY_SEGMENTS, n)).astype(int)
    bundle, difference = export_bundle(
        model,
        directory,
        segments=data.valid_segments.segments(evenly_spaced),
        labels=data.genres,
        spec=spec,
        bank=bank,
        segment_frames=data.length,
        segment_hop=data.hop,
        temperature=calibration.temperature,
        abstain_below=calibration.abstain_below,
        lineage=lineage,
        embedder=data.embedder,
    )
    return bundle, {
        "temperature": calibration.temperature,
        "abstain_below": calibration.abstain_below,
        "onnx_difference": difference,
    }
