"""`cnn_2d`: three 2-D convolutions and two small dense layers.

As published: three Conv2D of 32 filters and dense layers of 32 and 16, with batch normalisation and dropout between
them; mel spectrograms, 10 genres, learning rate 0.00025, 100 epochs, reported accuracy 59 %. Kernel sizes, pooling and
dropout rates are not stated.
"""

from typing import TYPE_CHECKING

from genreflow.models.architecture import Architecture, TrainingProtocol
from genreflow.models.dimensions import Float, Int

if TYPE_CHECKING:
    from keras import KerasTensor


def build(image: "KerasTensor", *, classes: int, filters: int, dropout: float) -> "KerasTensor":
    """Build the body.

    Parameters
    ----------
    image : keras.KerasTensor [shape=(batch, time, frequency, 1)]
    classes : int >= 2
    filters : int > 0
        Of each convolution; the dense layers have as many units and half as many.
    dropout : float in [0, 1)
        After each convolution and dense layer.

    Returns
    -------
    keras.KerasTensor [shape=(batch, classes)]
        Logits.
    """
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
        protocol=TrainingProtocol(
            options={"epochs": 100, "batch_size": 32, "learning_rate": 2.5e-4},
            chosen="length and split of segments, optimiser, batches",
        ),
    ),
)
