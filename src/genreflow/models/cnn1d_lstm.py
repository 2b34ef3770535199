"""`cnn1d_lstm`: convolutions over a sequence of cepstral coefficients, then two LSTM layers."""

from genreflow.models.architecture import Architecture, Protocol
from genreflow.models.dimensions import Choice, Float

COEFFICIENTS = 20


def build(image, *, classes: int, units: int, dropout: float):
    """Three convolutions over time with pooling, two LSTM of `units`, a dense layer of half as many."""
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
        protocol=Protocol(
            options={"epochs": 100, "batch_size": 32, "learning_rate": 2.5e-4},
            chosen="segments and how they were divided, optimiser, batches",
        ),
    ),
)
