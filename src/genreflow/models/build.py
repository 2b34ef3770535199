"""The registry of architectures, and building a model of it.

To add an architecture, add a module with its ``ARCHITECTURES``, and name it in ``_MODULES``.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from genreflow.errors import ParameterError
from genreflow.models import (
    accurate,
    cnn1d_lstm,
    cnn_2d,
    cnn_recurrent,
    cnn_rnn,
    efficient,
    embedding_head,
    lstm,
    parallel_cnn,
    resnet50,
    tiny_cnn,
    vgg_large,
    wide_parallel_cnn,
    windows,
)
from genreflow.models.architecture import Architecture
from genreflow.models.embedding_head import select_values
from genreflow.models.frontend import FrontEnd, apply_front_end

if TYPE_CHECKING:
    import keras
    from keras import KerasTensor

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
    embedding_head,
)
MODELS: dict[str, Architecture] = {row.name: row for module in _MODULES for row in module.ARCHITECTURES}


def get_architecture(name: str) -> Architecture:
    """The architecture called `name`.

    Raises
    ------
    ParameterError
        There is none; the message lists those that exist.
    """
    if name not in MODELS:
        raise ParameterError(f"The model must be one of {', '.join(MODELS)}; got {name!r}.")
    return MODELS[name]


def validate_hyperparameters(name: str, hyperparameters: Mapping[str, Any]) -> dict[str, Any]:
    """Validate hyperparameters of a model, and add the defaults of those that are not given.

    Parameters
    ----------
    name : str
        Key of `MODELS`.
    hyperparameters : mapping

    Returns
    -------
    dict
        All hyperparameters of the model.

    Raises
    ------
    ParameterError
        Unknown model or hyperparameter, or a value out of range.
    """
    row = get_architecture(name)
    values = {key: dimension.default for key, dimension in row.space.items()}
    for key, value in hyperparameters.items():
        if key not in row.space:
            known = ", ".join(row.space) or "none"
            raise ParameterError(f"{name}: hyperparameters are {known}; got {key!r}.")
        row.space[key].check(f"{name}.{key}", value)
        values[key] = value
    return values


def build_model(
    name: str,
    *,
    input_shape: tuple[int, ...],
    classes: int,
    mean: np.ndarray | None = None,
    variance: np.ndarray | None = None,
    seed: int | None = None,
    image: tuple[int, int] | None = None,
    coefficients: int | None = None,
    columns: Mapping[str, tuple[int, int]] | None = None,
    peak: float | None = None,
    **hyperparameters: Any,
) -> "keras.Model":
    """Build an untrained model: front end and body.

    The output is logits. The softmax that published structures end with has no weights; it is applied by the loss in
    training (``from_logits``) and by `genreflow.evaluation.calibration.softmax`, with the temperature, everywhere else.

    Parameters
    ----------
    name : str
        Key of `MODELS`.
    input_shape : tuple of int > 0
        Frames and n_mels of a segment; for an architecture on embeddings their size.
    classes : int >= 2
    mean, variance : np.ndarray [shape=(n_mels,)] or None
        Standardisation of each band, for levels in [0, 1], or of each value of embeddings; both or neither.
    seed : int in [0, 2**32) or None
        Of the initial weights; seeds Python, NumPy and the backend globally.
    image : tuple of two int > 0 or None
        Time steps and bands that segments are resized to, such as (80, 80); None: the architecture's.
    coefficients : int in [0, n_mels] or None
        Number of MFCC that replace the mel bands; 0: mel bands; None: the architecture's.
    columns : mapping of str to tuple of two int or None
        First and last column of each choice of values of embeddings, for an architecture on those.
    peak : float in (0, 1] or None
        Level that the loudest cell of every segment is shifted to; None: levels stay as they are.
    **hyperparameters
        Of the architecture's search space; the others have their defaults.

    Returns
    -------
    keras.Model
        From float32 (batch, frames, n_mels) in [0, 1], or embeddings (batch, size), to float32 logits (batch, classes).

    Raises
    ------
    ParameterError
        Unknown model or hyperparameter, a value out of range, statistics for another number of bands, or an image that
        is too small for the architecture.

    Examples
    --------
    >>> model = build_model("parallel_cnn", input_shape=(172, 128), classes=8)
    >>> body_parameters(model)
    61071
    """
    import keras

    row = get_architecture(name)
    expected = "one size >= 1, that of an embedding" if row.embedding else "two sizes >= 1, frames and bands"
    if len(input_shape) != (1 if row.embedding else 2) or min(input_shape) < 1:
        raise ParameterError(f"{name}: input_shape must be {expected}; got {input_shape}.")
    if classes < 2:
        raise ParameterError(f"{name}: classes must be >= 2; got {classes}.")
    _check_statistics(row, input_shape[-1], mean, variance)
    values = validate_hyperparameters(name, hyperparameters)
    if seed is not None:
        keras.utils.set_random_seed(seed)
    if row.embedding:
        if columns is None:
            raise ParameterError(f"{name}: columns must be given for an architecture on embeddings; got None.")
        given = keras.Input(tuple(input_shape), name="embeddings", dtype="float32")
        chosen = values.pop("values", "penultimate")
        return _with_body(
            row, given, select_values(given, columns, chosen, mean=mean, variance=variance), classes, values
        )
    front_end = _resolve_front_end(row, FrontEnd(image=image, coefficients=coefficients), bands=input_shape[1])
    segments = keras.Input(tuple(input_shape), name="segments", dtype="float32")
    body_input = apply_front_end(
        segments, image=front_end.image, coefficients=front_end.coefficients, peak=peak, mean=mean, variance=variance
    )
    _check_image_size(row, (body_input.shape[1], body_input.shape[2]))
    return _with_body(row, segments, body_input, classes, values)


def _with_body(
    row: Architecture, model_input: "KerasTensor", body_input: "KerasTensor", classes: int, values: Mapping[str, Any]
) -> "keras.Model":
    """Put the body behind its input, as a model of its own, to compare its number of parameters with published ones."""
    import keras

    inputs = keras.Input(body_input.shape[1:], name="body_input" if row.embedding else "image", dtype="float32")
    try:
        logits = row.build(inputs, classes=classes, **values)
    except ValueError as error:  # raised by Keras
        raise ParameterError(
            f"{row.name} cannot be built for images of {format_size(body_input.shape[1:3])} (time steps x bands): "
            f"{' '.join(str(error).split())[:300]}"
        ) from error
    body = keras.Model(inputs, logits, name="body")
    return keras.Model(model_input, body(body_input), name=row.name)


def _check_statistics(row: Architecture, number: int, mean: np.ndarray | None, variance: np.ndarray | None) -> None:
    sizes = {None if values is None else np.size(values) for values in (mean, variance)}
    if sizes not in ({None}, {number}):
        raise ParameterError(
            f"{row.name}: mean and variance must both have {number} values, one per "
            f"{'value of an embedding' if row.embedding else 'band'}, or both be None; got "
            f"{' and '.join('None' if values is None else str(np.size(values)) for values in (mean, variance))}."
        )


def _resolve_front_end(row: Architecture, requested: FrontEnd, *, bands: int) -> FrontEnd:
    """Fill in the architecture's own image and coefficients; 0 coefficients become None."""
    image, coefficients = requested.image, requested.coefficients
    if image is not None and (len(image) != 2 or min(image) < 1):
        raise ParameterError(f"{row.name}: image must be time steps and bands, such as (80, 80); got {tuple(image)}.")
    if coefficients is not None and not 0 <= coefficients <= bands:
        raise ParameterError(
            f"{row.name}: coefficients must be between 1 and {bands}, the number of bands, or 0 for the mel bands; got "
            f"{coefficients}."
        )
    return FrontEnd(
        image=row.image if image is None else image,
        coefficients=row.coefficients if coefficients is None else coefficients or None,
    )


def _check_image_size(row: Architecture, size: tuple[int, int]) -> None:
    if size[0] < row.min_image[0] or size[1] < row.min_image[1]:
        published = "" if row.image is None else f" (published: {format_size(row.image)})"
        raise ParameterError(
            f"{row.name}: the image must be at least {format_size(row.min_image)} (time steps x bands), or pooling "
            f"leaves nothing of it{published}; got {format_size(size)}."
        )


def format_size(size: tuple[int, int]) -> str:
    """Time steps and bands, as in "80x80"."""
    return f"{size[0]}x{size[1]}"


def body_parameters(model: "keras.Model") -> int:
    """Number of parameters of the body, trainable or not, without those of the front end."""
    return model.get_layer("body").count_params()
