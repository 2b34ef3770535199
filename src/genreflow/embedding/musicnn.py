"""The network musicnn in Keras, from its weights.

The order of the layers and of their values is that of the graph which is stored beside the published weights.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from genreflow.embedding.checkpoint import CONVOLUTIONS, FRONT_END, batch_norm_name

if TYPE_CHECKING:
    import keras

# Frames (2.99 s) and mel bands of a patch.
PATCH = (187, 96)
# Of all batch normalisations.
EPSILON = 1e-3
_TIMBRAL = CONVOLUTIONS[:2]


def build_musicnn(weights: Mapping[str, np.ndarray]) -> "keras.Model":
    """Build musicnn.

    Parameters
    ----------
    weights : mapping of str to np.ndarray
        Variables by their names in a checkpoint, as `genreflow.embedding.checkpoint.read_weights` returns them. The
        numbers of filters are those of the kernels, so that a pruned network is built as well.

    Returns
    -------
    keras.Model
        From patches [shape=(batch, 187, 96)] of ``log10(1 + 10000 * mel power)`` to a dict:

        ``max``, ``mean`` [shape=(batch, 753)]
            Maximum and mean over time of the front end (561) and of the three middle layers (64 each).
        ``penultimate`` [shape=(batch, 200)]
            The values that the last layer takes.
        ``tags`` [shape=(batch, 50), range=[0, 1]]
    """
    import keras
    from keras import layers

    patches = keras.Input(PATCH, name="patches")
    # Channel first: ONNX Runtime broadcasts over a last axis of size 1 slowly.
    x = layers.Reshape((1, *PATCH), name="add_channel")(patches)
    x = _batch_norm(0, axis=1)(x)
    x = layers.Reshape((*PATCH, 1), name="channel_last")(x)
    padded = layers.ZeroPadding2D((3, 0), name="pad_time")(x)
    branches = [_front_end_branch(weights, name, padded if name in _TIMBRAL else x) for name in FRONT_END]
    front = layers.Concatenate(name="front_end")(branches)
    first = _middle_layer(weights, "conv2d_5", front)
    second = layers.Add(name="residual_1")([_middle_layer(weights, "conv2d_6", first), first])
    third = layers.Add(name="residual_2")([_middle_layer(weights, "conv2d_7", second), second])
    features = layers.Concatenate(name="features")([front, first, second, third])
    maximum = layers.GlobalMaxPooling1D(name="max")(features)
    mean = layers.GlobalAveragePooling1D(name="mean")(features)
    column = layers.Reshape((features.shape[-1], 1), name="column")
    pooled = layers.Flatten(name="interleave")(layers.Concatenate()([column(maximum), column(mean)]))
    hidden = layers.Dense(weights["dense/bias"].size, activation="relu", name="dense")(_batch_norm(9)(pooled))
    penultimate = _batch_norm(10)(hidden)
    tags = layers.Dense(weights["dense_1/bias"].size, activation="sigmoid", name="dense_1")(penultimate)
    outputs = {"penultimate": penultimate, "max": maximum, "mean": mean, "tags": tags}
    model = keras.Model(patches, outputs, name="musicnn")
    _set_weights(model, weights)
    return model


def _front_end_branch(weights: Mapping[str, np.ndarray], name: str, x: "keras.KerasTensor") -> "keras.KerasTensor":
    """A convolution whose values are normalised and then reduced to their maximum over frequency."""
    from keras import layers

    *size, _, filters = weights[f"{name}/kernel"].shape
    padding = "valid" if name in _TIMBRAL else "same"
    x = layers.Conv2D(filters, size, padding=padding, activation="relu", name=name)(x)
    index = 1 + CONVOLUTIONS.index(name)
    # Normalising the maxima gives the same values in a fraction of the time, unless a sign changes.
    maxima_first = (weights[f"{batch_norm_name(index)}/gamma"] >= 0).all()
    x = x if maxima_first else _batch_norm(index)(x)
    x = layers.MaxPooling2D((1, x.shape[2]), name=f"{name}_max")(x)
    x = layers.Reshape((PATCH[0], filters), name=f"{name}_frames")(x)
    return _batch_norm(index)(x) if maxima_first else x


def _middle_layer(weights: Mapping[str, np.ndarray], name: str, x: "keras.KerasTensor") -> "keras.KerasTensor":
    from keras import layers

    length, _, _, filters = weights[f"{name}/kernel"].shape
    x = layers.Conv1D(filters, length, padding="same", activation="relu", name=name)(x)
    return _batch_norm(1 + CONVOLUTIONS.index(name))(x)


def _batch_norm(index: int, axis: int = -1) -> "keras.layers.Layer":
    from keras import layers

    return layers.BatchNormalization(axis=axis, epsilon=EPSILON, name=batch_norm_name(index))


def _set_weights(model: "keras.Model", weights: Mapping[str, np.ndarray]) -> None:
    for layer in model.layers:
        if layer.weights:
            layer.set_weights([weights[f"{layer.name}/{v.name}"].reshape(v.shape) for v in layer.weights])
