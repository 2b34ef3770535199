"""`cnn1d_lstm`: 1-D convolutions over a sequence of MFCC, then two LSTM layers.

As published: three Conv1D of 32 filters, two LSTM of 128 units and a dense layer of 64, with batch normalisation and
dropout between them; MFCC, 10 genres, learning rate 0.00025, 100 epochs, reported accuracy 63 %. Kernel sizes, pooling
and dropout rates are not stated.
"""

from typing import TYPE_CHECKING

from genreflow.models.architecture import Architecture, TrainingProtocol
from genreflow.models.dimensions import Choice, Float

if TYPE_CHECKING:
    from keras import KerasTensor

COEFFICIENTS = 20


def build(image: "KerasTensor", *, classes: int, units: int, dropout: float) -> "KerasTensor":
    """Build the body.

    Parameters
    ----------
    image : keras.KerasTensor [shape=(batch, time, coefficients, 1)]
    classes : int >= 2
    units : int > 0
        Of each LSTM layer; the dense layer has half as many.
    dropout : float in [0, 1)
        After each convolution and the dense layer.

    Returns
    -------
    keras.KerasTensor [shape=(batch, classes)]
        Logits.
    """
    from keras import layers

    time, coefficients, _ = image.shape[1:]
    x = layers.Reshape((time, coefficients))(image)
    for _ in range(3):
        x = layers.Conv1D(32, 3, padding="same", activation="relu")(x)
        x = layers.MaxPooling1D(2, padding="same")(x)
        x = layers.Dropout(dropout)(layers.BatchNormalization()(x))
    x = layers.LSTM(units, return_sequences=True)(x)
    x = layers.LSTM(units)(x)
    x = layers.BatchNormalization()(layers.Dense(units // 2, activation="relu")(x))
    return layers.Dense(classes, name="logits")(layers.Dropout(dropout)(x))


ARCHITECTURES = (
    Architecture(
        name="cnn1d_lstm",
        build=build,
        origin="published: sequences of MFCC, 10 genres, learning rate 0.00025, 100 epochs",
        reported="63 %",
        coefficients=COEFFICIENTS,
        published_classes=10,
        space={
            "units": Choice(values=(32, 64, 128), default=128),
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
