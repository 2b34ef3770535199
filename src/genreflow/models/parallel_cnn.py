"""`parallel_cnn`: two convolutions side by side, a coarse and a fine one."""

from dataclasses import replace

from genreflow.models.architecture import EIGHT_GENRES, Architecture
from genreflow.models.dimensions import Float


def build(image, *, classes: int, dropout: float):
    """Two branches on the same image, flattened and joined; `dropout` on the joined features (0 as published)."""
    from keras import layers

    def branch(filters: int, kernel: int, pool: int):
        x = layers.Conv2D(filters, kernel, padding="same")(image)
        x = layers.LeakyReLU(negative_slope=0.3)(x)
        return layers.Flatten()(layers.MaxPooling2D(pool)(x))

    x = layers.Concatenate()([branch(3, 8, 4), branch(4, 4, 2)])
    return layers.Dense(classes, name="logits")(layers.Dropout(dropout)(x))


ARCHITECTURES = (
    Architecture(
        name="parallel_cnn",
        build=build,
        origin="published: 80x80 images, 8 genres, SGD, 50 epochs, batches of 128",
        reported="69.2 % of validation images",
        image=(80, 80),
        parameters=61_071,
        space={"dropout": Float(low=0.0, high=0.7, default=0.0)},
        learning_rate=Float(low=1e-3, high=1e-1, default=1e-2, log=True),
        optimiser="momentum",
        smallest=(4, 4),
        protocol=replace(
            EIGHT_GENRES,
            options={**EIGHT_GENRES.options, "optimiser": "sgd", "learning_rate": 0.01},
            chosen="which 8 genres, learning rate",
        ),
    ),
)
