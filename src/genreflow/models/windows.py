"""`cnn5`, `rnn` and `crnn`: a network for one window of a mel spectrogram, and two that read a whole track in windows.

Published together for 2,500 tracks of GTZAN and FMA, 10 genres, tracks split 8:1:1 at random; reported accuracies of
test tracks:

- `cnn5`: five Conv2D, each with max pooling and dropout, two hidden dense layers, softmax; about 370,000 parameters;
  73 %.
- `rnn`: LSTM of 128 units (sequences) over the windows of a track, dropout 0.5, flatten, dense layers of 150, 100 and
  50, softmax; 68.7 %.
- `crnn`: the convolutions of `cnn5` on each window, an LSTM of 128 units over the windows, so that the decision depends
  on all of them, dense layers of 150, 100 and 50, softmax; 77.2 %.

The length of a window is not stated; a tenth of 30 s is assumed.
"""

from typing import TYPE_CHECKING

from genreflow.models.architecture import Architecture, TrainingProtocol
from genreflow.models.dimensions import Choice, Float, Int

if TYPE_CHECKING:
    from keras import KerasTensor

FILTERS = (16, 32, 64, 64, 128)
DENSE_UNITS = (150, 100, 50)


def _convolve(x: "KerasTensor", *, dropout: float) -> "KerasTensor":
    """Five convolutions, each with max pooling (while an axis is longer than 1) and dropout; flattened."""
    from keras import layers

    for filters in FILTERS:
        x = layers.Conv2D(filters, 3, padding="same", activation="relu")(x)
        x = layers.MaxPooling2D([min(2, size) for size in x.shape[1:3]])(x)
        x = layers.Dropout(dropout)(x)
    return layers.Flatten()(x)


def _split_into_windows(image: "KerasTensor", windows: int) -> "KerasTensor":
    """Split along time into equal windows [shape=(batch, windows, time, bands, 1)]; the remainder is dropped."""
    from keras import layers

    time, bands, channels = image.shape[1:]
    size = max(1, time // windows)
    windows = min(windows, time)
    x = layers.Cropping2D(((0, time - windows * size), (0, 0)))(image)
    return layers.Reshape((windows, size, bands, channels))(x)


def _classify(x: "KerasTensor", *, classes: int) -> "KerasTensor":
    """The hidden dense layers of `rnn` and `crnn`, and the logits."""
    from keras import layers

    for units in DENSE_UNITS:
        x = layers.Dense(units, activation="relu")(x)
    return layers.Dense(classes, name="logits")(x)


def build_cnn5(image: "KerasTensor", *, classes: int, units: int, dropout: float) -> "KerasTensor":
    """Build the body of `cnn5`.

    Parameters
    ----------
    image : keras.KerasTensor [shape=(batch, time, frequency, 1)]
    classes : int >= 2
    units : int > 0
        Of the first dense layer; the second has half as many.
    dropout : float in [0, 1)
        After each convolution and dense layer.

    Returns
    -------
    keras.KerasTensor [shape=(batch, classes)]
        Logits.
    """
    from keras import layers

    x = _convolve(image, dropout=dropout)
    x = layers.Dropout(dropout)(layers.Dense(units, activation="relu")(x))
    x = layers.Dropout(dropout)(layers.Dense(units // 2, activation="relu")(x))
    return layers.Dense(classes, name="logits")(x)


def build_rnn(image: "KerasTensor", *, classes: int, windows: int, units: int, dropout: float) -> "KerasTensor":
    """Build the body of `rnn`: an LSTM over the windows, each the mean of its frames, and dense layers on all states.

    Parameters
    ----------
    image : keras.KerasTensor [shape=(batch, time, frequency, 1)]
    classes : int >= 2
    windows : int > 0
        Of a track.
    units : int > 0
        Of the LSTM layer.
    dropout : float in [0, 1)
        After the LSTM layer.

    Returns
    -------
    keras.KerasTensor [shape=(batch, classes)]
        Logits.
    """
    from keras import layers

    x = _split_into_windows(image, windows)
    count, size, bands, _ = x.shape[1:]
    x = layers.Reshape((count, size, bands))(x)
    x = layers.TimeDistributed(layers.GlobalAveragePooling1D())(x)
    x = layers.LSTM(units, return_sequences=True)(x)
    return _classify(layers.Flatten()(layers.Dropout(dropout)(x)), classes=classes)


def build_crnn(image: "KerasTensor", *, classes: int, windows: int, units: int, dropout: float) -> "KerasTensor":
    """Build the body of `crnn`: the convolutions of `cnn5` on each window, an LSTM, and dense layers on its last state.

    Parameters
    ----------
    image : keras.KerasTensor [shape=(batch, time, frequency, 1)]
    classes : int >= 2
    windows : int > 0
        Of a track.
    units : int > 0
        Of the LSTM layer.
    dropout : float in [0, 1)
        After each convolution.

    Returns
    -------
    keras.KerasTensor [shape=(batch, classes)]
        Logits.
    """
    import keras
    from keras import layers

    x = _split_into_windows(image, windows)
    window = keras.Input(x.shape[2:])
    x = layers.TimeDistributed(keras.Model(window, _convolve(window, dropout=dropout), name="window"))(x)
    return _classify(layers.LSTM(units)(x), classes=classes)


_ORIGIN = "published: 2,500 tracks of GTZAN and FMA, 10 genres, tracks 8:1:1"
_CHOSEN = "length of a window, optimiser, learning rate, epochs, batches"
_WINDOW_PROTOCOL = TrainingProtocol(
    seconds=3.0, hop_seconds=3.0, by="track", options={"epochs": 50, "batch_size": 32}, chosen=_CHOSEN
)
_TRACK_PROTOCOL = TrainingProtocol(
    seconds=30.0, hop_seconds=30.0, by="track", options={"epochs": 100, "batch_size": 32}, chosen=_CHOSEN
)

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
        protocol=_WINDOW_PROTOCOL,
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
        protocol=_TRACK_PROTOCOL,
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
        protocol=_TRACK_PROTOCOL,
    ),
)
