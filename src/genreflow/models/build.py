"""The architectures by name. Adding one is a file with its ``ARCHITECTURES``, and its name in the tuple below."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from genreflow.errors import ParameterError
from genreflow.models import (
    accurate,
    cnn1d_lstm,
    cnn_2d,
    cnn_recurrent,
    cnn_rnn,
    efficient,
    lstm,
    parallel_cnn,
    resnet50,
    tiny_cnn,
    vgg_large,
    wide_parallel_cnn,
    windows,
)
from genreflow.models.architecture import Architecture
from genreflow.models.frontend import FrontEnd, front_end

_MODULES = (
    parallel_cnn,
    cnn_rnn,
    wide_parallel_cnn,
    resnet50,
    lstm,
    cnn_recurrent,
    tiny_cnn,
    vgg_large,
    cnn_2d,
    cnn1d_lstm,
    windows,
    efficient,
    accurate,
)
MODELS: dict[str, Architecture] = {row.name: row for module in _MODULES for row in module.ARCHITECTURES}


def get_architecture(name: str) -> Architecture:
    """The row of `name`; ParameterError names the ones there are."""
    if name not in MODELS:
        raise ParameterError(f"There is no model {name!r}; one of {', '.join(MODELS)} is right.")
    return MODELS[name]


def validate_hyperparameters(name: str, hyperparameters: Mapping[str, Any]) -> dict[str, Any]:
    """All hyperparameters of a model, those that are not given at their defaults.

    Raises
    ------
    ParameterError
        Unknown model or hyperparameter, or a value out of its range.
    """
    row = get_architecture(name)
    values = {key: dimension.default for key, dimension in row.space.items()}
    for key, value in hyperparameters.items():
        if key not in row.space:
            known = ", ".join(row.space) or "none at all"
            raise ParameterError(f"{name} has no hyperparameter {key!r}; it has {known}.")
        row.space[key].check(f"{name}.{key}", value)
        values[key] = value
    return values


def build_model(
    name: str,
    *,
    input_shape: tuple[int, int],
    classes: int,
    mean=None,
    variance=None,
    seed: int | None = None,
    image: tuple[int, int] | None = None,
    coefficients: int | None = None,
    **hyperparameters: Any,
):
    """An untrained model: front end and body.

    The output is logits: the softmax that published structures end in has no weights and is applied by the loss
    (``from_logits``) in training and by ``evaluation.calibration.softmax`` everywhere else, where the temperature
    belongs as well.

    Parameters
    ----------
    name : str
        A key of `MODELS`.
    input_shape : tuple of two int > 0
        Frames and n_mels of a segment.
    classes : int >= 2
    mean, variance : np.ndarray [shape=(n_mels,)] or None
        Standardisation of each band, of values in [0, 1]; both or neither.
    seed : int >= 0 or None
        The same seed gives the same first weights (it seeds Python, NumPy and the backend as a whole).
    image : tuple of two int > 0 or None
        Time steps and bands that every segment is resized to, such as (80, 80); None: as the architecture has it.
    coefficients : int in [0, n_mels] or None
        Cepstral coefficients (MFCC) that take the place of the bands; 0: the bands themselves, even where the
        architecture has coefficients; None: as the architecture has it.
    **hyperparameters
        Dimensions of the architecture's space; the others take their defaults.

    Returns
    -------
    keras.Model
        float32 (batch, frames, n_mels) in [0, 1], named ``segments``, to float32 logits (batch, classes).

    Raises
    ------
    ParameterError
        Unknown model or hyperparameter, a value out of its range, bands that do not fit the statistics, or an image
        that is too small for the architecture.
    """
    import keras

    row = get_architecture(name)
    if len(input_shape) != 2 or min(input_shape) < 1 or classes < 2:
        raise ParameterError(
            f"{name} was asked for with segments of {input_shape} and {classes} classes; "
            "two sizes of at least 1 (frames, bands) and at least 2 classes are right."
        )
    sizes = {None if values is None else np.size(values) for values in (mean, variance)}
    if sizes not in ({None}, {input_shape[1]}):
        raise ParameterError(
            f"The standardisation of {name} was given {' and '.join(map(str, sizes))} values; "
            f"a mean and a variance for each of {input_shape[1]} bands, or neither, is right."
        )
    front = _chosen_front_end(row, FrontEnd(image=image, coefficients=coefficients), bands=input_shape[1])
    values = validate_hyperparameters(name, hyperparameters)

    if seed is not None:
        keras.utils.set_random_seed(seed)
    segments = keras.Input(tuple(input_shape), name="segments", dtype="float32")
    seen = front_end(segments, image=front.image, coefficients=front.coefficients, mean=mean, variance=variance)
    _check_size(row, seen.shape[1:3])
    # The body is a model in the model: its count is the published one, whatever stands before it.
    inputs = keras.Input(seen.shape[1:], name="image", dtype="float32")
    try:
        logits = row.build(inputs, classes=classes, **values)
    except ValueError as error:  # Keras'
        raise ParameterError(
            f"{name} cannot be built for images of {size_text(seen.shape[1:3])} (time steps x bands): "
            f"{' '.join(str(error).split())[:300]}"
        ) from error
    body = keras.Model(inputs, logits, name="body")
    return keras.Model(segments, body(seen), name=name)


def _chosen_front_end(row: Architecture, asked: FrontEnd, *, bands: int) -> FrontEnd:
    """What was asked for, and the architecture's own where nothing was; 0 coefficients are none."""
    image, coefficients = asked.image, asked.coefficients
    if image is not None and (len(image) != 2 or min(image) < 1):
        raise ParameterError(
            f"{row.name} was asked for with images of {image}; time steps and bands such as (80, 80) are right."
        )
    if coefficients is not None and not 0 <= coefficients <= bands:
        raise ParameterError(
            f"{row.name} was asked for with {coefficients} cepstral coefficients; of {bands} bands there are 1 to "
            f"{bands}, and 0 takes the bands themselves."
        )
    return FrontEnd(
        image=row.image if image is None else image,
        coefficients=row.coefficients if coefficients is None else coefficients or None,
    )


def _check_size(row: Architecture, size: tuple[int, int]) -> None:
    if any(given < least for given, least in zip(size, row.smallest, strict=True)):
        own = "" if row.image is None else f", and {size_text(row.image)} as published"
        raise ParameterError(
            f"{row.name} was asked for with images of {size_text(size)} (time steps x bands), of which its pooling "
            f"leaves nothing; at least {size_text(row.smallest)} is right{own}."
        )


def size_text(size: tuple[int, int]) -> str:
    """Time steps and bands, as in "80x80"."""
    return "{}x{}".format(*size)


def body_parameters(model) -> int:
    """Trainable and other parameters of the body behind the front end."""
    return model.get_layer("body").count_params()
