"""The architectures by name. Adding one is a file with its ``ARCHITECTURES``, and its name in the tuple below."""

from typing import Any

import numpy as np

from genreflow.errors import ParameterError
from genreflow.models import (
    cnn1d_lstm,
    cnn_2d,
    cnn_recurrent,
    cnn_rnn,
    efficient,
    parallel_cnn,
    recurrent,
    resnet50,
    tiny_cnn,
    vgg_large,
    wide_parallel_cnn,
    windows,
)
from genreflow.models.architecture import Architecture
from genreflow.models.frontend import front_end

_MODULES = (
    parallel_cnn,
    cnn_rnn,
    wide_parallel_cnn,
    resnet50,
    recurrent,
    cnn_recurrent,
    tiny_cnn,
    vgg_large,
    cnn_2d,
    cnn1d_lstm,
    windows,
    efficient,
)
MODELS: dict[str, Architecture] = {row.name: row for module in _MODULES for row in module.ARCHITECTURES}


def architecture(name: str) -> Architecture:
    """The row of `name`; ParameterError names the ones there are."""
    if name not in MODELS:
        raise ParameterError(f"There is no model {name!r}; one of {', '.join(MODELS)} is right.")
    return MODELS[name]


def build_model(
    name: str,
    *,
    input_shape: tuple[int, int],
    classes: int,
    mean=None,
    variance=None,
    seed: int | None = None,
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
    **hyperparameters
        Dimensions of the architecture's space; the others take their defaults.

    Returns
    -------
    keras.Model
        float32 (batch, frames, n_mels) in [0, 1], named ``segments``, to float32 logits (batch, classes).

    Raises
    ------
    ParameterError
        Unknown model or hyperparameter, a value out of its range, or bands that do not fit the statistics.
    """
    import keras

    row = architecture(name)
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
    values = {key: dimension.default for key, dimension in row.space.items()}
    for key, value in hyperparameters.items():
        if key not in row.space:
            known = ", ".join(row.space) or "none at all"
            raise ParameterError(f"{name} has no hyperparameter {key!r}; it has {known}.")
        row.space[key].check(f"{name}.{key}", value)
        values[key] = value

    if seed is not None:
        keras.utils.set_random_seed(seed)
    segments = keras.Input(tuple(input_shape), name="segments", dtype="float32")
    front = front_end(segments, image=row.image, coefficients=row.coefficients, mean=mean, variance=variance)
    # The body is a model in the model: its count is the published one, whatever stands before it.
    image = keras.Input(front.shape[1:], name="image", dtype="float32")
    body = keras.Model(image, row.build(image, classes=classes, **values), name="body")
    return keras.Model(segments, body(front), name=name)


def body_parameters(model) -> int:
    """Trainable and other parameters of the body behind the front end."""
    return model.get_layer("body").count_params()


def describe(*names: str, input_shape: tuple[int, int] = (80, 80), classes: int = 8) -> list[dict[str, Any]]:
    """What the table of ``genreflow models`` shows; all models when none is named.

    Returns
    -------
    list of dict
        ``name``, ``parameters`` (of the body, for this shape and these classes), ``image`` ("time x bands", or "as
        given"), ``hyperparameters``, ``origin``, ``reported``.
    """
    rows = []
    for row in [architecture(name) for name in names or MODELS]:
        model = build_model(row.name, input_shape=input_shape, classes=classes)
        rows.append(
            {
                "name": row.name,
                "parameters": body_parameters(model),
                "image": "as given" if row.image is None else "{}x{}".format(*row.image),
                "hyperparameters": {key: dimension.default for key, dimension in row.space.items()},
                "origin": row.origin,
                "reported": row.reported,
            }
        )
    return rows
