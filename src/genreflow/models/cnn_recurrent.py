"""`cnn_gru` and `cnn_bilstm`: three 2-D convolutions, then two recurrent layers over the remaining time steps.

As published for 80x80 images of 8 genres: Conv2D of 16, 32 and 64 filters (3x3, same padding, ReLU), each with batch
normalisation and max pooling by 2; reshaped to 10 steps of 640 features; GRU or bidirectional LSTM of 512 units
(sequences) and 256; dense layers of 1024 (ReLU, dropout 0.4) and 512 (ReLU, dropout 0.3), softmax. SGD with momentum;
reported accuracy of validation images: `cnn_bilstm` 87.5 % (8,424,136 parameters), `cnn_gru` 88.1 % (3,179,720), which
augmentation raised to 89.2 %: `cnn_gru_augmented`, the same network with another protocol.
"""

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from genreflow.models.architecture import EIGHT_GENRES, Architecture
from genreflow.models.dimensions import Choice, Float

if TYPE_CHECKING:
    from keras import KerasTensor, layers


def _build(
    image: "KerasTensor", *, classes: int, units: int, dropout: float, bidirectional_lstm: bool
) -> "KerasTensor":
    from keras import layers

    def recurrent(units: int, *, return_sequences: bool) -> "layers.Layer":
        if bidirectional_lstm:
            return layers.Bidirectional(layers.LSTM(units, return_sequences=return_sequences))
        return layers.GRU(units, return_sequences=return_sequences)

    x = image
    for filters in (16, 32, 64):
        x = layers.Conv2D(filters, 3, padding="same", activation="relu")(x)
        x = layers.MaxPooling2D(2)(layers.BatchNormalization()(x))
    time, bands, channels = x.shape[1:]
    x = layers.Reshape((time, bands * channels))(x)
    x = recurrent(units, return_sequences=True)(x)
    x = recurrent(units // 2, return_sequences=False)(x)
    x = layers.Dropout(dropout)(layers.Dense(2 * units, activation="relu")(x))
    x = layers.Dropout(0.75 * dropout)(layers.Dense(units, activation="relu")(x))
    return layers.Dense(classes, name="logits")(x)


def build_gru(image: "KerasTensor", *, classes: int, units: int, dropout: float) -> "KerasTensor":
    """Build the body with GRU layers.

    Parameters
    ----------
    image : keras.KerasTensor [shape=(batch, time, frequency, 1)]
    classes : int >= 2
    units : int > 0
        Of the first recurrent layer. The second has half as many, the dense layers twice and as many.
    dropout : float in [0, 1)
        After the first dense layer; three quarters of it after the second, as in the published pair of 0.4 and 0.3.

    Returns
    -------
    keras.KerasTensor [shape=(batch, classes)]
        Logits.
    """
    return _build(image, classes=classes, units=units, dropout=dropout, bidirectional_lstm=False)


def build_bilstm(image: "KerasTensor", *, classes: int, units: int, dropout: float) -> "KerasTensor":
    """Build the body with bidirectional LSTM layers, of `units` in each direction; see `build_gru`."""
    return _build(image, classes=classes, units=units, dropout=dropout, bidirectional_lstm=True)


_SPACE = {
    "units": Choice(values=(64, 128, 256, 512), default=512),
    "dropout": Float(low=0.0, high=0.6, default=0.4),
}
_PUBLISHED: dict[str, Any] = {
    "image": (80, 80),
    "space": _SPACE,
    "learning_rate": Float(low=1e-3, high=1e-1, default=1e-2, log=True),
    "optimiser": "momentum",
    "min_image": (8, 8),
}
_ORIGIN = "published: 80x80 images, 8 genres, SGD with momentum"
_PROTOCOL = replace(EIGHT_GENRES, chosen="which 8 genres, learning rate, epochs, batches")
_AUGMENTATION = {"translation": 0.1, "zoom": 0.1, "noise": 0.01, "contrast": 0.2}

ARCHITECTURES = (
    Architecture(
        name="cnn_bilstm",
        build=build_bilstm,
        origin=_ORIGIN,
        reported="87.5 % of validation images",
        parameters=8_424_136,
        protocol=_PROTOCOL,
        **_PUBLISHED,
    ),
    Architecture(
        name="cnn_gru",
        build=build_gru,
        origin=f"{_ORIGIN}; its authors' best without augmentation",
        reported="88.1 % of validation images",
        parameters=3_179_720,
        protocol=_PROTOCOL,
        **_PUBLISHED,
    ),
    Architecture(
        name="cnn_gru_augmented",
        build=build_gru,
        origin=f"{_ORIGIN}, random translation, zoom, noise and contrast; its authors' best",
        reported="89.2 % of validation images",
        parameters=3_179_720,
        protocol=replace(_PROTOCOL, options={**_PROTOCOL.options, **_AUGMENTATION}),
        **_PUBLISHED,
    ),
)
