"""Build and fit an architecture, with its hyperparameters, for given data."""

from collections.abc import Mapping
from typing import Any

import keras

from genreflow.models import build_model
from genreflow.training.data import TrainingData
from genreflow.training.fit import FitResult, OnEpoch, fit
from genreflow.training.options import FitOptions


def build_configuration(
    data: TrainingData, architecture: str, hyperparameters: Mapping[str, Any], *, seed: int
) -> keras.Model:
    """Build an architecture for the data, standardised by the training segments; clears Keras' global state first.

    Parameters
    ----------
    data : TrainingData
    architecture : str
        Key of `genreflow.models.MODELS`.
    hyperparameters : mapping
        Of the architecture; the others have their defaults.
    seed : int in [0, 2**32)
        Of the initial weights.

    Raises
    ------
    ParameterError
        See `genreflow.models.build_model`.
    """
    keras.utils.clear_session()
    mean, variance = data.train.band_statistics()
    return build_model(
        architecture,
        input_shape=data.input_shape,
        classes=len(data.genres),
        mean=mean,
        variance=variance,
        seed=seed,
        image=data.front_end.image,
        coefficients=data.front_end.coefficients,
        columns=None if data.embedder is None else data.embedder.columns,
        peak=data.front_end.peak,
        **hyperparameters,
    )


def fit_configuration(
    data: TrainingData,
    architecture: str,
    hyperparameters: Mapping[str, Any],
    options: FitOptions,
    *,
    on_epoch: OnEpoch | None = None,
) -> tuple[keras.Model, FitResult]:
    """Build an architecture as `build_configuration` does, and fit it; the same seed gives the same result.

    Parameters
    ----------
    data : TrainingData
    architecture : str
        Key of `genreflow.models.MODELS`.
    hyperparameters : mapping
        Of the architecture; the others have their defaults.
    options : FitOptions
        Its seed is also that of the initial weights.
    on_epoch : callable, optional
        See `genreflow.training.fit.fit`.

    Returns
    -------
    model : keras.Model
    result : FitResult
    """
    model = build_configuration(data, architecture, hyperparameters, seed=options.seed)
    return model, fit(model, data.train, data.valid, options, on_epoch=on_epoch)
