"""`cnn5`, `rnn` and `crnn`: a net for one window of a mel spectrogram, and two that read a whole track as windows.

All three come from one study of 2,500 tracks of GTZAN and FMA. `crnn` runs the convolutions of `cnn5` on every window
and an LSTM over the windows, so that its decision depends on all that came before. How long a window is they do not
say; a tenth of 30 s is taken.
"""

from genreflow.models.architecture import Architecture, Protocol
from genreflow.models.dimensions import Choice, Float, Int

FILTERS = (16, 32, 64, 64, 128)
HIDDEN = (150, 100, 50)
_ORIGIN = "published: 2,500 tracks of GTZAN and FMA, 10 genres, tracks 8:1:1"
_CHOSEN = "length of a window, optimiser, learning rate, epochs, batches"
_WINDOW = Protocol(seconds=3.0, hop_seconds=3.0, by="track", options={"epochs": 50, "batch_size": 32}, chosen=_CHOSEN)
_WHOLE = Protocol(seconds=30.0, hop_seconds=30.0, by="track", options={"epochs": 100, "batch_size": 32}, chosen=_CHOSEN)


def _convolutions(x, *, dropout: float):
    """Five convolutions, each with pooling (as long as there is something to pool) and dropout."""
    from keras import layers

    for filters in FILTERS:
        x = layers.Conv2D(filters, 3, padding="same", activation="relu")(x)
        x = layers.MaxPooling2D([min(2, size) for size in x.shape[1:3]])(x)
        x = layers.Dropout(dropout)(x)
    return layers.Flatten()(x)


def build_cnn5(image, *, classes: int, units: int, dropout: float):
    """Five convolutions and two hidden dense layers, of `units` and half as many."""
    from keras import layers

    x = _convolutions(image, dropout=dropout)
    x = layers.Dropout(dropout)(layers.Dense(units, activation="relu")(x))
    x = layers.Dropout(dropout)(layers.Dense(units // 2, activation="relu")(x))
    return layers.Dense(classes, name="logits")(x)


def _in_windows(image, windows: int):
    """Cut an image into `windows` equal parts along time [shape=(batch, windows, time, bands, 1)]; drop the rest."""
    from keras import layers

    time, bands, channels = image.shape[1:]
    size = max(1, time // windows)
    windows = min(windows, time)
    x = layers.Cropping2D(((0, time - windows * size), (0, 0)))(image)
    return layers.Reshape((windows, size, bands, channels))(x)


def _decision(x, *, classes: int):
    from keras import layers

    for units in HIDDEN:
        x = layers.Dense(units, activation="relu")(x)
    return layers.Dense(classes, name="logits")(x)


def build_rnn(image, *, classes: int, windows: int, units: int, dropout: float):
    """An LSTM over the windows, each the mean of its frames; its states at all of them decide."""
    from keras import layers

    x = _in_windows(image, windows)
    count, size, bands, _ = x.shape[1:]
    x = layers.Reshape((count, size, bands))(x)
    x = layers.TimeDistributed(layers.GlobalAveragePooling1D())(x)
    x = layers.LSTM(units, return_sequences=True)(x)
    return _decision(layers.Flatten()(layers.Dropout(dropout)(x)), classes=classes)


def build_crnn(image, *, classes: int, windows: int, units: int, dropout: float):
    """The convolutions of `cnn5` on every window, an LSTM over what they say; its last state decides."""
    import keras
    from keras import layers

    x = _in_windows(image, windows)
    window = keras.Input(x.shape[2:])
    x = layers.TimeDistributed(keras.Model(window, _convolutions(window, dropout=dropout), name="window"))(x)
    return _decision(layers.LSTM(units)(x), classes=classes)


ARCHITECTURES = (
    Architecture(
        name="cnn5",
        bfloat16=True,
        build=build_cnn5,
        origin=f"{_ORIGIN}; windows of a mel spectrogram, about 370,000 parameters",
        reported="73 % of test tracks",
        image=(128, 128),
        published_classes=10,
        space={
            "units": Int(low=32, high=256, default=112, log=True),
            "dropout": Float(low=0.0, high=0.6, default=0.2),
        },
        learning_rate=Float(low=1e-4, high=1e-2, default=1e-3, log=True),
        optimiser="adam",
        protocol=_WINDOW,
    ),
    Architecture(
        name="rnn",
        build=build_rnn,
        origin=f"{_ORIGIN}; a whole track in windows",
        reported="68.7 % of test tracks",
        whole_track=True,
        published_classes=10,
        space={
            "windows": Choice(values=(5, 10, 20), default=10),
            "units": Choice(values=(32, 64, 128), default=128),
            "dropout": Float(low=0.0, high=0.7, default=0.5),
        },
        learning_rate=Float(low=1e-4, high=1e-2, default=1e-3, log=True),
        optimiser="adam",
        protocol=_WHOLE,
    ),
    Architecture(
        name="crnn",
        bfloat16=True,
        build=build_crnn,
        origin=f"{_ORIGIN}; a whole track in windows",
        reported="77.2 % of test tracks",
        whole_track=True,
        published_classes=10,
        space={
            "windows": Choice(values=(5, 10, 20), default=10),
            "units": Choice(values=(32, 64, 128), default=128),
            "dropout": Float(low=0.0, high=0.6, default=0.2),
        },
        learning_rate=Float(low=1e-4, high=1e-2, default=1e-3, log=True),
        optimiser="adam",
        protocol=_WHOLE,
    ),
)
