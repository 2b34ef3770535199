"""`vgg_large`: five blocks of two convolutions, and one wide dense layer."""

from genreflow.models.architecture import Architecture, Protocol
from genreflow.models.dimensions import Float, Int


def build(image, *, classes: int, units: int, dropout: float):
    """The first convolution of a block keeps the size, the second loses its border.

    The dropout behind the dense layer is one and a half times the one before it: the published pair is 0.3 and 0.45.
    """
    from keras import layers

    x = image
    for filters in (32, 64, 128, 256, 512):
        x = layers.Conv2D(filters, 3, padding="same", activation="relu")(x)
        x = layers.Conv2D(filters, 3, padding="valid", activation="relu")(x)
        x = layers.MaxPooling2D(2)(x)
    x = layers.Flatten()(layers.Dropout(dropout)(x))
    x = layers.Dropout(1.5 * dropout)(layers.Dense(units, activation="relu")(x))
    return layers.Dense(classes, name="logits")(x)


ARCHITECTURES = (
    Architecture(
        name="vgg_large",
        bfloat16=True,
        build=build,
        origin="published: segments of 4 s resized to 210x210, 10 genres, Adam; too large for its author to deploy",
        reported="92.6 % of validation segments",
        image=(210, 210),
        parameters=14_555_258,
        published_classes=10,
        space={
            "units": Int(low=128, high=1200, default=1200, log=True),
            "dropout": Float(low=0.0, high=0.6, default=0.3),
        },
        learning_rate=Float(low=1e-5, high=1e-3, default=1e-4, log=True),
        optimiser="adam",
        smallest=(94, 94),
        protocol=Protocol(options={"epochs": 30, "batch_size": 32}, chosen="learning rate, epochs, batches"),
    ),
)
