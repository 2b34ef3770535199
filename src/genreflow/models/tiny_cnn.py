"""`tiny_cnn`: a plain convolutional network, as small as its author had to make it to deploy it in 512 MB.

Published for segments of 4 s with 2 s overlap, 10 genres: Conv2D, MaxPooling2D, flatten, dense; 11,402 parameters,
reported accuracy 46.7 % of validation segments. The sizes of the layers are not stated.
"""

from typing import TYPE_CHECKING

from genreflow.models.architecture import Architecture, TrainingProtocol
from genreflow.models.dimensions import Choice, Float

if TYPE_CHECKING:
    from keras import KerasTensor


def build(image: "KerasTensor", *, classes: int, width: int, dropout: float) -> "KerasTensor":
    """Build the body: three convolutions with pooling, and a small dense layer.

    Parameters
    ----------
    image : keras.KerasTensor [shape=(batch, time, frequency, 1)]
    classes : int >= 2
    width : int > 0
        Filters of the first convolution, the others have twice as many. 8 gives 8,874 parameters for segments of 4 s
        (172 frames of 128 bands) and 10 classes.
    dropout : float in [0, 1)
        After the dense layer.

    Returns
    -------
    keras.KerasTensor [shape=(batch, classes)]
        Logits.
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
        protocol=TrainingProtocol(
            options={"epochs": 50, "batch_size": 32},
            chosen="sizes of the layers, optimiser, learning rate, epochs, batches",
        ),
    ),
)
