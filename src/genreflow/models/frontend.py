"""The front end of every model: from a segment of base log-mel frames to the image that a body takes.

It is part of the graph and thus of the exported file, so that the service feeds raw segments to any body.

The first axis of an image is time, the second frequency. The published images are square with frequency on the
vertical axis, which gives the same parameter counts. Time comes first here because recurrent layers read the first axis
as their sequence, and should read frames, not bands.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from keras import KerasTensor, layers


@dataclass(frozen=True, kw_only=True)
class FrontEnd:
    """What a model sees of a segment; by default what its architecture was published with.

    Parameters
    ----------
    image : tuple of two int > 0 or None
        Time steps and bands (or coefficients) that segments are resized to; None: the architecture's.
    coefficients : int >= 0 or None
        Number of MFCC that replace the mel bands; 0: mel bands; None: the architecture's.
    peak : float in (0, 1] or None
        Level that the loudest cell of every segment is shifted to; None: levels stay as they are.
    """

    image: tuple[int, int] | None = None
    coefficients: int | None = None
    peak: float | None = None


def apply_front_end(
    segments: "KerasTensor",
    *,
    image: tuple[int, int] | None = None,
    coefficients: int | None = None,
    peak: float | None = None,
    mean: np.ndarray | None = None,
    variance: np.ndarray | None = None,
) -> "KerasTensor":
    """Shift the level, standardise each band, compute cepstral coefficients, resize, and add the channel axis.

    Uses only layers without trainable weights that every Keras backend and the ONNX exporter support. Standardisation
    and resizing are written as the linear maps that they are: constants kept by ``Normalization`` become inputs of the
    exported graph, and antialiased resizing has no equivalent in ONNX.

    Parameters
    ----------
    segments : keras.KerasTensor [shape=(batch, frames, n_mels), range=[0, 1]]
    image : tuple of two int > 0 or None
        Time steps and bands to resize to; None: not resized.
    coefficients : int > 0 or None
        Number of MFCC that replace the mel bands, at most n_mels; None: mel bands.
    peak : float in (0, 1] or None
        Level that the loudest cell of every segment is shifted to, so that a recording's level does not matter, which
        `level_reference: full_scale` preserves. With the mean over the training segments, `mean` and `variance` need
        no correction. None: levels stay as they are.
    mean, variance : np.ndarray [shape=(n_mels,)] or None
        Statistics of each band over the training segments, constants of the graph; None: not standardised.

    Returns
    -------
    keras.KerasTensor [shape=(batch, time, frequency, 1)]
    """
    from keras import layers, ops

    x = segments
    if peak is not None:
        x = x - ops.max(x, axis=(1, 2), keepdims=True) + peak
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


def resize_matrix(size: int, new_size: int) -> np.ndarray:
    """Matrix of antialiased bilinear resizing of an axis, as ``jax.image.resize`` and Pillow do it.

    Cell centres are at half-integers and the ends are repeated. When shrinking, the triangle kernel is widened by the
    factor ``size / new_size``.

    Parameters
    ----------
    size, new_size : int > 0
        Cells before and after.

    Returns
    -------
    np.ndarray [shape=(size, new_size), dtype=float32]
        Non-negative; every column sums to 1.
    """
    ratio = size / new_size
    support = max(1.0, ratio)
    centre = (np.arange(new_size) + 0.5) * ratio
    distance = np.abs(np.arange(size)[:, None] + 0.5 - centre[None, :])
    weight: np.ndarray = np.maximum(0.0, 1.0 - distance / support)
    return (weight / weight.sum(axis=0)).astype("float32")


def cepstrum_matrix(bands: int, coefficients: int) -> np.ndarray:
    """Matrix of the orthonormal discrete cosine transform (type II) along the bands.

    Applied to log-mel levels it gives the mel frequency cepstral coefficients (MFCC; Davis and Mermelstein 1980). That
    the bands are standardised before is an affine map, which the layers that follow can learn to undo.

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


def _linear_map(matrix: np.ndarray, name: str) -> "layers.Layer":
    """A frozen layer that multiplies the last axis by `matrix`."""
    from keras import layers

    layer = layers.Dense(matrix.shape[1], use_bias=False, trainable=False, name=name)
    layer.build((None, None, matrix.shape[0]))
    layer.set_weights([matrix])
    return layer
