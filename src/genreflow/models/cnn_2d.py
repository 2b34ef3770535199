"""`cnn_2d`: three convolutions of 32 and two small dense layers, normalised and thinned out between."""

from genreflow.models.architecture import Architecture, Protocol
from genreflow.models.dimensions import Float, Int


def build(image, *, classes: int, filters: int, dropout: float):
    """Convolution, pooling, normalisation and `dropout`, three times; two dense layers of `filters` and half of it."""
    from keras import layers

    x = image
    for _ in range(3):
        x = layers.Conv2D(filters, 3, padding="same", activation="relu")(x)
        x = layers.MaxPooling2D(2, padding="same")(x)
        x = layers.Dropout(dropout)(layers.BatchNormalization()(x))
    x = layers.Flatten()(x)
    for units in (filters, filters // 2):
        x = layers.Dense(units, activation="relu")(x)
        x = layers.Dropout(dropout)(layers.BatchNormalization()(x))
    return layers.Dense(classes, name="logits")(x)


ARCHITECTURES = (
    Architecture(
        name="cnn_2d",
        bfloat16=True,
        build=build,
        origin="published: mel spectrograms, 10 genres, learning rate 0.00025, 100 epochs",
        reported="59 %",
        published_classes=10,
        space={
            "filters": Int(low=8, high=64, default=32, log=True),
            "dropout": Float(low=0.0, high=0.6, default=0.2),
        },
        learning_rate=Float(low=5e-5, high=5e-3, default=2.5e-4, log=True),
        optimiser="adam",
        protocol=Protocol(
            options={"epochs": 100, "batch_size": 32, "learning_rate": 2.5e-4},
            chosen="segments and how they were divided, optimiser, batches",
        ),
    ),
)
