"""`cnn_gru` and `cnn_bilstm`: three convolutions, then two recurrent layers over the time steps that are left."""

from genreflow.models.architecture import Architecture
from genreflow.models.space import Choice, Float

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


ARCHITECTURES = (
    Architecture(
        name="cnn_bilstm",
        build=build_bilstm,
        origin="published: 80x80 images, 8 genres, SGD with momentum",
        reported="87.5 % of validation images",
        image=(80, 80),
        parameters=8_424_136,
        space=_SPACE,
        learning_rate=Float(low=1e-3, high=1e-1, default=1e-2, log=True),
        optimiser="momentum",
    ),
    Architecture(
        name="cnn_gru",
        build=build_gru,
        origin="published: 80x80 images, 8 genres, SGD with momentum; its authors' best",
        reported="88.1 % of validation images, 89.2 % with augmentation",
        image=(80, 80),
        parameters=3_179_720,
        space=_SPACE,
        learning_rate=Float(low=1e-3, high=1e-1, default=1e-2, log=True),
        optimiser="momentum",
    ),
)
