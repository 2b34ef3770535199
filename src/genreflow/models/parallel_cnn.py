"""`parallel_cnn`: two convolutional branches side by side, a coarse and a fine one.

As published for 80x80 images of 8 genres: one branch of 3 filters 8x8 with max pooling by 4, one of 4 filters 4x4 with
max pooling by 2 (same padding, LeakyReLU 0.3), flattened, concatenated, softmax: 61,071 parameters. SGD, 50 epochs,
batches of 128, reported accuracy 69.2 % of validation images.
"""

from dataclasses import replace
from typing import TYPE_CHECKING

from genreflow.models.architecture import EIGHT_GENRES, Architecture
from genreflow.models.dimensions import Float

if TYPE_CHECKING:
    from keras import KerasTensor


def build(image: "KerasTensor", *, classes: int, dropout: float) -> "KerasTensor":
    """Build the body.

    Parameters
    ----------
    image : keras.KerasTensor [shape=(batch, time, frequency, 1)]
    classes : int >= 2
    dropout : float in [0, 1)
        On the concatenated features; 0 as published.

    Returns
    -------
    keras.KerasTensor [shape=(batch, classes)]
        Logits.
    """
    from keras import layers

    def branch(filters: int, kernel: int, pool: int) -> "KerasTensor":
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
        min_image=(4, 4),
        protocol=replace(
            EIGHT_GENRES,
            options={**EIGHT_GENRES.options, "optimiser": "sgd", "learning_rate": 0.01},
            chosen="which 8 genres, learning rate",
        ),
    ),
)
