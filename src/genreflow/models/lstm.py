"""`lstm` and `bilstm`: recurrent layers alone, on the frames as they come."""

from genreflow.models.architecture import EIGHT_GENRES, Architecture
from genreflow.models.dimensions import Choice, Float

_SPACE = {
    "units": Choice(values=(32, 64, 128, 256), default=128),
    "dropout": Float(low=0.0, high=0.6, default=0.2),
}


def _build(image, *, classes: int, units: int, dropout: float, wrap):
    from keras import layers

    time, bands, _ = image.shape[1:]
    x = layers.Reshape((time, bands))(image)
    x = wrap(layers.LSTM(units, return_sequences=True))(x)
    x = wrap(layers.LSTM(units // 2))(x)
    return layers.Dense(classes, name="logits")(layers.Dropout(dropout)(x))


def build_lstm(image, **sizes):
    """Two layers forwards in time, the second half as wide as the first (`units`)."""
    return _build(image, wrap=lambda layer: layer, **sizes)


def build_bilstm(image, **sizes):
    """Two layers that each read in both directions."""
    from keras import layers

    return _build(image, wrap=layers.Bidirectional, **sizes)


ARCHITECTURES = tuple(
    Architecture(
        name=name,
        build=build,
        origin="published: 80x80 images, 8 genres; sizes of the layers not stated",
        reported="50 to 60 % of validation images",
        image=(80, 80),
        space=_SPACE,
        learning_rate=Float(low=1e-4, high=1e-2, default=1e-3, log=True),
        optimiser="adam",
        protocol=EIGHT_GENRES,
    )
    for name, build in (("lstm", build_lstm), ("bilstm", build_bilstm))
)
