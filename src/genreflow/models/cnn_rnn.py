"""`cnn_rnn`: one-dimensional convolutions over time, then two LSTM layers."""

from genreflow.models.architecture import EIGHT_GENRES, Architecture
from genreflow.models.dimensions import Float


def build(image, *, classes: int, dropout: float):
    """The bands of a moment are its channels: the channel axis of the image is squeezed away."""
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
        smallest=(4, 1),
        protocol=EIGHT_GENRES,
    ),
)
