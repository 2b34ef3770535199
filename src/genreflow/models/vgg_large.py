"""`vgg_large`: five blocks of two convolutions as in VGG, and one wide dense layer.

As published for segments of 4 s resized to 210x210, 10 genres: blocks of 32, 64, 128, 256 and 512 filters 3x3 (first
convolution with same, second with valid padding, ReLU) with max pooling by 2; dropout 0.3; dense layer of 1200 (ReLU),
dropout 0.45, softmax: 14,555,258 parameters. Reported accuracy 92.6 % of validation segments; too large for its author
to deploy in 512 MB.
"""

from typing import TYPE_CHECKING

from genreflow.models.architecture import Architecture, TrainingProtocol
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
        Of the dense layer.
    dropout : float in [0, 1)
        Before the dense layer; one and a half times as much after it, as in the published pair of 0.3 and 0.45.

    Returns
    -------
    keras.KerasTensor [shape=(batch, classes)]
        Logits.
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
        min_image=(94, 94),
        protocol=TrainingProtocol(options={"epochs": 30, "batch_size": 32}, chosen="learning rate, epochs, batches"),
    ),
)
