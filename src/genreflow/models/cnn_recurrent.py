"""`cnn_gru` and `cnn_bilstm`: three convolutions, then two recurrent layers over the time steps that are left.

`cnn_gru_augmented` is the same net as `cnn_gru`; what differs is in its protocol.
"""

from dataclasses import replace

from genreflow.models.architecture import EIGHT_GENRES, Architecture
from genreflow.models.dimensions import Choice, Float

_SPACE = {
    "units": Choice(values=(64, 128, 256, 512), default=512),
    "dropout": Float(low=0.0, high=0.6, default=0.4),
}


def _build(image, *, classes: int, units: int, dropout: float, recurrent):
    """Everything behind the convolutions is sized by `units` (512 as published).

    The second dropout is three quarters of the first, which is the published pair 0.4 and 0.3.
    """
    from keras import layers

    x = image
    for filters in (16, 32, 64):
        x = layers.Conv2D(filters, 3, padding="same", activation="relu")(x)
        x = layers.MaxPooling2D(2)(layers.BatchNormalization()(x))
    time, bands, channels = x.shape[1:]
    x = layers.Reshape((time, bands * channels))(x)
    x = recurrent(units, return_sequences=True)(x)
    x = recurrent(units // 2)(x)
    x = layers.Dropout(dropout)(layers.Dense(2 * units, activation="relu")(x))
    x = layers.Dropout(0.75 * dropout)(layers.Dense(units, activation="relu")(x))
    return layers.Dense(classes, name="logits")(x)


def build_gru(image, **sizes):
    """The body with gated recurrent units."""
    from keras import layers

    return _build(image, recurrent=layers.GRU, **sizes)


def build_bilstm(image, **sizes):
    """The body with long short-term memory in both directions."""
    from keras import layers

    def both_ways(units: int, return_sequences: bool = False):
        return layers.Bidirectional(layers.LSTM(units, return_sequences=return_sequences))

    return _build(image, recurrent=both_ways, **sizes)


_AS_PUBLISHED = {
    "image": (80, 80),
    "space": _SPACE,
    "learning_rate": Float(low=1e-3, high=1e-1, default=1e-2, log=True),
    "optimiser": "momentum",
    "smallest": (8, 8),
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
        **_AS_PUBLISHED,
    ),
    Architecture(
        name="cnn_gru",
        build=build_gru,
        origin=f"{_ORIGIN}; its authors' best without augmentation",
        reported="88.1 % of validation images",
        parameters=3_179_720,
        protocol=_PROTOCOL,
        **_AS_PUBLISHED,
    ),
    Architecture(
        name="cnn_gru_augmented",
        build=build_gru,
        origin=f"{_ORIGIN}, random translation, zoom, noise and contrast; its authors' best",
        reported="89.2 % of validation images",
        parameters=3_179_720,
        protocol=replace(_PROTOCOL, options={**_PROTOCOL.options, **_AUGMENTATION}),
        **_AS_PUBLISHED,
    ),
)
