"""`musicnn` and `embedder`: a classifier of embeddings that a pretrained network computed, and that stay as they are.

Transfer learning with a frozen network: Pons and Serra (musicnn, 2019) and Alonso-Jiménez et al. (Tensorflow Audio
Models in Essentia, ICASSP 2020) fit a linear classifier or a small perceptron to the values before its last layers.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from genreflow.models.architecture import Architecture, TrainingProtocol
from genreflow.models.dimensions import Choice, Dimension, Float

if TYPE_CHECKING:
    from keras import KerasTensor

# First and last column of each choice of values of MSD_musicnn, as it is exported; others are read from the embedder.
MUSICNN_COLUMNS = {"penultimate": (0, 200), "max": (200, 457), "mean": (457, 714), "both": (200, 714)}


def select_values(
    embeddings: "KerasTensor",
    columns: Mapping[str, tuple[int, int]],
    values: str,
    *,
    mean: np.ndarray | None = None,
    variance: np.ndarray | None = None,
) -> "KerasTensor":
    """Select the values that the classifier takes, and standardise them.

    Parameters
    ----------
    embeddings : keras.KerasTensor [shape=(batch, size)]
    columns : mapping of str to tuple of two int
        First and last column of each choice of values.
    values : str
        A key of `columns`.
    mean, variance : np.ndarray [shape=(size,)] or None
        Statistics of each value over the training segments, constants of the graph; None: not standardised.

    Returns
    -------
    keras.KerasTensor [shape=(batch, last - first)]
    """
    from keras import layers

    first, last = columns[values]
    x = embeddings if (first, last) == (0, embeddings.shape[1]) else embeddings[:, first:last]
    if mean is None or variance is None:
        return x
    scale = 1 / np.sqrt(np.asarray(variance, "float64")[first:last])
    offset = -np.asarray(mean, "float64")[first:last] * scale
    return layers.Rescaling(scale.tolist(), offset.tolist(), name="standardise")(x)


def build(values: "KerasTensor", *, classes: int, hidden: int, dropout: float) -> "KerasTensor":
    """Build the body: a linear classifier, or a perceptron with one hidden layer.

    Parameters
    ----------
    values : keras.KerasTensor [shape=(batch, size)]
        Standardised.
    classes : int >= 2
    hidden : int >= 0
        Units of the hidden layer; 0: none.
    dropout : float in [0, 1)
        In front of each layer.

    Returns
    -------
    keras.KerasTensor [shape=(batch, classes)]
        Logits.
    """
    from keras import layers

    x = layers.Dropout(dropout)(values)
    if hidden:
        x = layers.Dropout(dropout)(layers.Dense(hidden, activation="relu")(x))
    return layers.Dense(classes, name="logits")(x)


# The weights of the last epoch are kept: on a small validation part, the best epoch is a matter of chance
# (docs/experiments.md).
_HEAD: dict[str, Dimension] = {
    "hidden": Choice(values=(0, 64, 128, 256), default=0),
    "dropout": Float(low=0.0, high=0.7, default=0.3),
}

ARCHITECTURES = (
    Architecture(
        name="musicnn",
        embedding=True,
        build=build,
        origin="own classifier on musicnn (Pons and Serra 2019), which 200,000 tracks trained to tag music",
        reported="",
        space={"values": Choice(values=tuple(MUSICNN_COLUMNS), default="both"), **_HEAD},
        learning_rate=Float(low=3e-4, high=3e-2, default=3e-3, log=True),
        optimiser="adam",
        keep="last",
        protocol=TrainingProtocol(seconds=3.0, hop_seconds=3.0, genres=10, by="track"),
    ),
    Architecture(
        name="embedder",
        embedding=True,
        build=build,
        origin="own classifier on the network of embedding.file",
        reported="",
        space=_HEAD,
        learning_rate=Float(low=3e-4, high=3e-2, default=3e-3, log=True),
        optimiser="adam",
        keep="last",
        protocol=TrainingProtocol(seconds=3.0, hop_seconds=3.0, genres=10, by="track"),
    ),
)
