"""`efficient`: our own small net: a short-chunk CNN that shrinks early."""

from genreflow.models.architecture import Architecture
from genreflow.models.space import Choice, Float


def build(image, *, classes: int, width: int, dropout: float):
    from keras import layers

    time, bands, _ = image.shape[1:]
    step = max(1, time // 48)

    def conv(x, filters, kernel, strides=1, act=True):
        x = layers.Conv2D(filters, kernel, strides=strides, padding="same", use_bias=False)(x)
        x = layers.BatchNormalization()(x)
        return layers.Activation("relu")(x) if act else x

    x = conv(image, width, (2 * step + 1, 5), (step, 2))
    for i in range(3):
        x = layers.MaxPooling2D(2, padding="same")(x) if i else layers.MaxPooling2D((1, 2), padding="same")(x)
        f = width * 2**i
        if i:
            x = conv(x, f, 1)
        y = conv(x, f, 3)
        y = conv(y, f, 3, act=False)
        x = layers.Activation("relu")(layers.Add()([x, y]))
    x = layers.Concatenate()([layers.GlobalAveragePooling2D()(x), layers.GlobalMaxPooling2D()(x)])
    return layers.Dense(classes, name="logits")(layers.Dropout(dropout)(x))


ARCHITECTURE = Architecture(
    name="efficient",
    build=build,
    origin="genreflow: at most 150,000 parameters and 3 ms of one core for a track of 30 s",
    reported="",
    space={
        "width": Choice(values=(8, 12, 16), default=16),
        "dropout": Float(low=0.0, high=0.6, default=0.3),
    },
    learning_rate=Float(low=3e-4, high=1e-2, default=3e-3, log=True),
    optimiser="adamw",
)
