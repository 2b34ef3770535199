"""`cnn_rnn`: 1-D convolutions over time, then two LSTM layers.

As published for 80x80 images of 8 genres: Conv1D of 8 filters of size 4 and 6 of size 3 (same padding, ReLU), each with
max pooling by 2; LSTM of 128 units (sequences) and 32; dense layer of 200 (ReLU), dropout 0.2, softmax: 100,654
parameters, reported accuracy 51.5 % of validation images.
"""

from typing import TYPE_CHECKING

from genreflow.models.architecture import EIGHT_GENRES, Architecture
from genreflow.models.dimensions import Float

if TYPE_CHECKING:
    from keras import KerasTensor


def build(image: "KerasTensor", *, classes: int, dropout: float) -> "KerasTensor":
    """Build the body, in which the bands of a frame are its channels.

    Parameters
    ----------
    image : keras.KerasTensor [shape=(batch, time, frequency, 1)]
    classes : int >= 2
    dropout : float in [0, 1)
        After the dense layer.

    Returns
    -------
    keras.KerasTensor [shape=(batch, classes)]
        Logits.
    """
    from keras import layers

    time, bands, _ = image.shape[1:]
    x = layers.Reshape((time, bands))(image)
    for filters, kernel in ((8, 4), (6, 3)):
        x = layers.Conv1D(filters, kernel, padding="same", activation="relu")(x)
        x = layers.MaxPooling1D(2)(x)
    x = layers.LSTM(128, return_sequences=True)(x)
    x = layers.LSTM(32)(x)
    x = layers.Dropout(dropout)(layers.Dense(200, activation="relu")(x))
    return layers.Dense(classes, name="logits")(x)


ARCHITECTURES = (
    Architecture(
        name="cnn_rnn",
        build=build,
        origin="published: 80x80 images, 8 genres",
        reported="51.5 % of validation images",
        image=(80, 80),
        parameters=100_654,
        space={"dropout": Float(low=0.0, high=0.6, default=0.2)},
        learning_rate=Float(low=1e-4, high=1e-2, default=1e-3, log=True),
        optimiser="adam",
        min_image=(4, 1),
        protocol=EIGHT_GENRES,
    ),
)
