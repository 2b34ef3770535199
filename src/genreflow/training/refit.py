"""One configuration to a fitted model, and a fitted model to a bundle."""

from collections.abc import Mapping
from pathlib import Path

import keras
import numpy as np

from genreflow.bundle import Bundle
from genreflow.evaluation.calibration import abstention_threshold, fit_temperature, softmax, track_probabilities
from genreflow.export.export_bundle import export_bundle
from genreflow.features.spec import FeatureSpec, FilterBank
from genreflow.models import build_model
from genreflow.training.data import TrainingData
from genreflow.training.fit import FitResult, OnEpoch, fit, logits
from genreflow.training.options import FitOptions

# Segments on which the exported net is held against the one it came from.
AGREEMENT_SEGMENTS = 64


def fit_configuration(
    data: TrainingData,
    architecture: str,
    hyperparameters: Mapping[str, object],
    options: FitOptions,
    *,
    on_epoch: OnEpoch | None = None,
) -> tuple[keras.Model, FitResult]:
    """Build an architecture for the data and fit it; the same seed gives the same initial weights.

    Parameters
    ----------
    data : TrainingData
    architecture : str
        Key of `genreflow.models.MODELS`.
    hyperparameters : mapping
        Of the architecture's space.
    options : FitOptions
    on_epoch : callable, optional
        See `genreflow.training.fit.fit`.
    """
    model = build_configuration(data, architecture, hyperparameters, seed=options.seed)
    return model, fit(model, data.train, data.valid, options, on_epoch=on_epoch)


def build_configuration(
    data: TrainingData, architecture: str, hyperparameters: Mapping[str, object], *, seed: int
) -> keras.Model:
    """Build an architecture for the data, standardised by its training part; what was built before is forgotten."""
    keras.utils.clear_session()
    keras.utils.set_random_seed(seed)
    mean, variance = data.train.standardisation()  # of training alone
    return build_model(
        architecture,
        input_shape=data.input_shape,
        classes=len(data.genres),
        mean=mean,
        variance=variance,
        image=data.front.image,
        coefficients=data.front.coefficients,
        **hyperparameters,
    )


def calibrate_and_export(
    model: keras.Model,
    data: TrainingData,
    directory: Path,
    *,
    spec: FeatureSpec,
    bank: FilterBank,
    abstain_below: float | None,
    lineage: dict,
) -> tuple[Bundle, dict[str, float]]:
    """Calibrate a fitted model on validation and write its bundle.

    Parameters
    ----------
    model : keras.Model
    data : TrainingData
        Its validation part gives the temperature and, unless it is set, the abstention threshold.
    directory : Path
    spec : FeatureSpec
    bank : FilterBank
    abstain_below : float in [0, 1] or None
        None takes `genreflow.evaluation.calibration.abstention_threshold`.
    lineage : dict

    Returns
    -------
    bundle : Bundle
    facts : dict
        ``temperature``, ``abstain_below`` and ``onnx_difference``.

    Raises
    ------
    GenreflowError
        The exported net does not give the model's answers.
    """
    valid = data.valid
    valid_logits = logits(model, valid)
    temperature = fit_temperature(valid_logits, valid.track_labels, valid.track)
    if abstain_below is None:
        by_track = track_probabilities(softmax(valid_logits, temperature), valid.track, valid.n_tracks)
        abstain_below = abstention_threshold(by_track, valid.track_labels)
    some = np.linspace(0, valid.n_segments - 1, min(AGREEMENT_SEGMENTS, valid.n_segments)).astype(int)
    bundle, difference = export_bundle(
        model,
        directory,
        segments=valid.segments(some),
        labels=data.genres,
        spec=spec,
        bank=bank,
        segment_frames=data.length,
        segment_hop=data.hop,
        temperature=temperature,
        abstain_below=abstain_below,
        lineage=lineage,
    )
    return bundle, {"temperature": temperature, "abstain_below": abstain_below, "onnx_difference": difference}
