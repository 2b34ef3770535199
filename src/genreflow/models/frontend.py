"""What stands between a segment of base log-mel frames and the image a body was drawn for; part of the graph.

Because it is inside the graph it is inside the exported file too: the service feeds raw segments, whatever the body.
An image has time along its first axis and frequency along its second. The published images are square and drawn with
frequency upwards, which changes no parameter count; time comes first here because the recurrent nets read the first
axis as their sequence, and a sequence of bands would not be one of moments.
"""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, kw_only=True)
class FrontEnd:
    """What a model sees of a segment, where that is not to be as the architecture has it.

    Parameters
    ----------
    image : tuple of two int > 0 or None
        Time steps and bands (or coefficients) that every segment is resized to; None: the architecture's own.
    coefficients : int >= 0 or None
        Cepstral coefficients that take the place of the bands; 0: the bands, even where the architecture has
        coefficients; None: the architecture's own.
    """

    image: tuple[int, int] | None = None
    coefficients: int | None = None


AS_PUBLISHED = FrontEnd()


def front_end(segments, *, image=None, coefficients=None, mean=None, variance=None):
    """Standardise every band, turn into cepstral coefficients, resize, add the channel.

    Only layers without trainable weights, and only those that every Keras backend and the ONNX converter know: a
    tensor kept by ``Normalization`` becomes an input of the exported graph, and resizing with a low-pass has no ONNX
    counterpart, so both are written as the linear maps they are.

    Parameters
    ----------
    segments : keras.KerasTensor [shape=(batch, frames, n_mels), range=[0, 1]]
    image : tuple of two int or None
        Time steps and bands to resize to; None keeps the size.
    coefficients : int > 0 or None
        Cepstral coefficients that take the place of the bands; at most as many as there are bands are kept.
    mean, variance : np.ndarray [shape=(n_mels,)] or None
        Statistics of each band over the training split; constants of the graph. None leaves the values as they are.

    Returns
    -------
    keras.KerasTensor [shape=(batch, time, frequency, 1)]
    """
    from keras import layers

    x = segments
    if mean is not None and variance is not None:
        scale = 1 / np.sqrt(np.asarray(variance, "float64").reshape(-1))
        offset = -np.asarray(mean, "float64").reshape(-1) * scale
        x = layers.Rescaling(scale.tolist(), offset.tolist(), name="standardise")(x)
    if coefficients is not None:
        x = _linear_map(cepstrum_matrix(x.shape[2], coefficients), "cepstrum")(x)
    time, bands = image or x.shape[1:]
    if bands != x.shape[2]:
        x = _linear_map(resize_matrix(x.shape[2], bands), "resize_bands")(x)
    if time != x.shape[1]:
        x = layers.Permute((2, 1), name="bands_first")(x)
        x = _linear_map(resize_matrix(x.shape[2], time), "resize_time")(x)
        x = layers.Permute((2, 1), name="time_first")(x)
    return layers.Reshape((time, bands, 1), name="add_channel")(x)


def resize_matrix(size: int, new: int) -> np.ndarray:
    """Bilinear resizing of an axis, as a matrix; shrinking averages over what a new cell covers.

    Parameters
    ----------
    size, new : int > 0
        Cells before and after.

    Returns
    -------
    np.ndarray [shape=(size, new), dtype=float32]
        Non-negative; every column sums to 1. Cell centres lie at half-integers, the ends are repeated outwards, and the
        triangle that weighs the old cells is widened by the factor of shrinking, as image libraries do it.
    """
    ratio = size / new
    reach = max(1.0, ratio)
    centre = (np.arange(new) + 0.5) * ratio
    distance = np.abs(np.arange(size)[:, None] + 0.5 - centre[None, :])
    weight = np.maximum(0.0, 1.0 - distance / reach)
    return (weight / weight.sum(axis=0)).astype("float32")


def cepstrum_matrix(bands: int, coefficients: int) -> np.ndarray:
    """The orthonormal discrete cosine transform (type II) along the bands, as a matrix.

    Of log-mel levels it gives the mel frequency cepstral coefficients (Davis and Mermelstein 1980). Standardising the
    bands first only moves and turns them, which the layers behind can undo.

    Parameters
    ----------
    bands, coefficients : int > 0

    Returns
    -------
    np.ndarray [shape=(bands, min(coefficients, bands)), dtype=float32]
        Orthonormal columns.
    """
    order = np.arange(min(coefficients, bands))
    matrix = np.cos(np.pi * (np.arange(bands)[:, None] + 0.5) * order / bands) * np.sqrt(2 / bands)
    matrix[:, 0] /= np.sqrt(2)
    return matrix.astype("float32")


def _linear_map(matrix: np.ndarray, name: str):
    """A frozen layer that multiplies the last axis by `matrix`."""
    from keras import layers

    layer = layers.Dense(matrix.shape[1], use_bias=False, trainable=False, name=name)
    layer.build((None, None, matrix.shape[0]))
    layer.set_weights([matrix])
    return layer
