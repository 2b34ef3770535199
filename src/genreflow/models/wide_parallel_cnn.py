"""`wide_parallel_cnn`: three branches of two convolutions, from coarse to fine, and most weights behind them."""

from genreflow.models.architecture import EIGHT_GENRES, Architecture
from genreflow.models.dimensions import Float, Int


def build(image, *, classes: int, units: int, dropout: float):
    """Three branches on the same image, flattened and joined; `units` of the dense layer hold nearly all weights."""
    from keras import layers

    def branch(filters: tuple[int, int], kernel: int, pool: int):
        x = image
        for count in filters:
            x = layers.Conv2D(count, kernel, padding="same")(x)
            x = layers.LeakyReLU(negative_slope=0.3)(x)
        x = layers.BatchNormalization()(layers.MaxPooling2D(pool)(x))
        return layers.Flatten()(x)

    x = layers.Concatenate()([branch((32, 64), 8, 4), branch((32, 64), 4, 2), branch((16, 32), 2, 2)])
    x = layers.Dropout(dropout)(layers.Dense(units, activation="relu")(x))
    return layers.Dense(classes, name="logits")(x)


ARCHITECTURES = (
    Architecture(
        name="wide_parallel_cnn",
        bfloat16=True,
        build=build,
        origin="published: 80x80 images, 8 genres",
        reported="82.0 % of validation images",
        image=(80, 80),
        parameters=46_046_904,
        space={
            "units": Int(low=16, high=256, default=256, log=True),
            "dropout": Float(low=0.0, high=0.7, default=0.3),
        },
        learning_rate=Float(low=1e-4, high=1e-1, default=1e-2, log=True),
        optimiser="momentum",
        smallest=(4, 4),
        protocol=EIGHT_GENRES,
    ),
)
