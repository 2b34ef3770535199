"""`wide_parallel_cnn`: three convolutional branches from coarse to fine, and a dense layer with most of the weights.

As published for 80x80 images of 8 genres: branches of two convolutions with 32 and 64 filters 8x8 (max pooling by 4),
32 and 64 filters 4x4 (by 2), 16 and 32 filters 2x2 (by 2), with same padding, LeakyReLU 0.3 and batch normalisation
after the pooling; flattened and concatenated; dense layer of 256 (ReLU), dropout 0.3, softmax: 46,046,904 parameters,
reported accuracy 82.0 % of validation images.
"""

from typing import TYPE_CHECKING

from genreflow.models.architecture import EIGHT_GENRES, Architecture
from genreflow.models.dimensions import Float, Int

if TYPE_CHECKING:
    from keras import KerasTensor


def build(image: "KerasTensor", *, classes: int, units: int, dropout: float) -> "KerasTensor":
    """Build the body.

    Parameters
    ----------
    image : keras.KerasTensor [shape=(batch, time, frequency, 1)]
    classes : int >= 2
    units : int > 0
        Of the dense layer, which has nearly all weights.
    dropout : float in [0, 1)
        After the dense layer.

    Returns
    -------
    keras.KerasTensor [shape=(batch, classes)]
        Logits.
    """
    from keras import layers

    def branch(filters: tuple[int, int], kernel: int, pool: int) -> "KerasTensor":
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
        min_image=(4, 4),
        protocol=EIGHT_GENRES,
    ),
)
