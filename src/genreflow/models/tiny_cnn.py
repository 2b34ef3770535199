"""`tiny_cnn`: the plainest convolutional net, as small as one author had to go to be able to deploy it."""

from genreflow.models.architecture import Architecture, Protocol
from genreflow.models.dimensions import Choice, Float


def build(image, *, classes: int, width: int, dropout: float):
    """Three convolutions with pooling, flattened, one small dense layer.

    `width` filters first, twice as many then: at 8, a segment of 4 s (172 frames of 128 bands) and ten genres make
    8,874 parameters; the published net had 11,402 and its layers' sizes are not stated.
    """
    from keras import layers

    x = image
    for filters, pool in ((width, 4), (2 * width, 4), (2 * width, 2)):
        x = layers.Conv2D(filters, 3, padding="same", activation="relu")(x)
        x = layers.MaxPooling2D([min(pool, size) for size in x.shape[1:3]])(x)
    x = layers.Dense(16, activation="relu")(layers.Flatten()(x))
    return layers.Dense(classes, name="logits")(layers.Dropout(dropout)(x))


ARCHITECTURES = (
    Architecture(
        name="tiny_cnn",
        bfloat16=True,
        build=build,
        origin="published: segments of 4 s with 2 s overlap, 10 genres; what its author could deploy in 512 MB",
        reported="46.7 % of validation segments",
        published_classes=10,
        space={"width": Choice(values=(4, 6, 8), default=8), "dropout": Float(low=0.0, high=0.5, default=0.0)},
        learning_rate=Float(low=1e-4, high=1e-2, default=1e-3, log=True),
        optimiser="adam",
        protocol=Protocol(
            options={"epochs": 50, "batch_size": 32},
            chosen="sizes of the layers, optimiser, learning rate, epochs, batches",
        ),
    ),
)
