"""`cnn_gru`: three convolutions, then two GRU layers over the time steps that are left."""

from genreflow.models.architecture import Architecture
from genreflow.models.space import Choice, Float


def build(image, *, classes: int, units: int, dropout: float):
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
    x = layers.GRU(units, return_sequences=True)(x)
    x = layers.GRU(units // 2)(x)
    x = layers.Dropout(dropout)(layers.Dense(2 * units, activation="relu")(x))
    x = layers.Dropout(0.75 * dropout)(layers.Dense(units, activation="relu")(x))
    return layers.Dense(classes, name="logits")(x)


ARCHITECTURE = Architecture(
    name="cnn_gru",
    build=build,
    origin="published: 80x80 images, 8 genres, SGD with momentum; its authors' best",
    reported="88.1 % of validation images, 89.2 % with augmentation",
    image=(80, 80),
    parameters=3_179_720,
    space={
        "units": Choice(values=(64, 128, 256, 512), default=512),
        "dropout": Float(low=0.0, high=0.6, default=0.4),
    },
    learning_rate=Float(low=1e-3, high=1e-1, default=1e-2, log=True),
    optimiser="momentum",
)
