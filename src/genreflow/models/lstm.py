"""`lstm` and `bilstm`: recurrent layers alone, on the frames of the spectrogram.

Published for 80x80 images of 8 genres, with a reported accuracy of 50 to 60 % of validation images. The sizes of the
layers are not stated.
"""

from typing import TYPE_CHECKING

from genreflow.models.architecture import EIGHT_GENRES, Architecture
from genreflow.models.dimensions import Choice, Dimension, Float

if TYPE_CHECKING:
    from keras import KerasTensor, layers


def _build(image: "KerasTensor", *, classes: int, units: int, dropout: float, bidirectional: bool) -> "KerasTensor":
    from keras import layers

    def recurrent(units: int, *, return_sequences: bool) -> "layers.Layer":
        layer = layers.LSTM(units, return_sequences=return_sequences)
        return layers.Bidirectional(layer) if bidirectional else layer

    time, bands, _ = image.shape[1:]
    x = layers.Reshape((time, bands))(image)
    x = recurrent(units, return_sequences=True)(x)
    x = recurrent(units // 2, return_sequences=False)(x)
    return layers.Dense(classes, name="logits")(layers.Dropout(dropout)(x))


def build_lstm(image: "KerasTensor", *, classes: int, units: int, dropout: float) -> "KerasTensor":
    """Build the body with two LSTM layers.

    Parameters
    ----------
    image : keras.KerasTensor [shape=(batch, time, frequency, 1)]
    classes : int >= 2
    units : int > 0
        Of the first layer; the second has half as many.
    dropout : float in [0, 1)
        After the second layer.

    Returns
    -------
    keras.KerasTensor [shape=(batch, classes)]
        Logits.
    """
    return _build(image, classes=classes, units=units, dropout=dropout, bidirectional=False)


def build_bilstm(image: "KerasTensor", *, classes: int, units: int, dropout: float) -> "KerasTensor":
    """Build the body with two bidirectional LSTM layers, of `units` in each direction; see `build_lstm`."""
    return _build(image, classes=classes, units=units, dropout=dropout, bidirectional=True)


_SPACE: dict[str, Dimension] = {
    "units": Choice(values=(32, 64, 128, 256), default=128),
    "dropout": Float(low=0.0, high=0.6, default=0.2),
}

ARCHITECTURES = tuple(
    Architecture(
        name=name,
        build=build,
        origin="published: 80x80 images, 8 genres; sizes of the layers not stated",
        reported="50 to 60 % of validation images",
        image=(80, 80),
        space=_SPACE,
        learning_rate=Float(low=1e-4, high=1e-2, default=1e-3, log=True),
        optimiser="adam",
        protocol=EIGHT_GENRES,
    )
    for name, build in (("lstm", build_lstm), ("bilstm", build_bilstm))
)
