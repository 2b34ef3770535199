"""`efficient`: our own small net, a short-chunk CNN that shrinks early and pools over all that is left.

Nothing of the position in time or frequency reaches the last layer: a net that keeps the frequency axis fitted the
training tracks of GTZAN better and those of other artists worse.
"""

from genreflow.models.architecture import Architecture
from genreflow.models.space import Choice, Float

# Time steps behind the first convolution, about: what a segment costs hardly depends on its frame rate.
TIME_STEPS = 48


def build(image, *, classes: int, width: int, dropout: float):
    """A strided first convolution, three times (shrink, widen, residual), mean and maximum over time and bands.

    The first kernel covers seven bands and at least twice its own stride in time, so that no frame is passed over.
    `width` is the number of its filters, and everything else goes with it.
    """
    from keras import layers

    def convolution(x, filters, kernel, strides=1):
        x = layers.Conv2D(
            filters, kernel, strides=strides, padding="same", use_bias=False, kernel_initializer="he_normal"
        )(x)
        # Fits are short: the usual 0.99 would still remember the first weights at the end.
        return layers.BatchNormalization(momentum=0.9)(x)

    stride = max(1, image.shape[1] // TIME_STEPS)
    x = layers.ReLU()(convolution(image, width, (2 * stride + 1, 7), (stride, 4)))
    for filters in (width, 5 * width // 2, 4 * width):
        x = layers.MaxPooling2D(2, padding="same")(x)
        x = layers.ReLU()(convolution(x, filters, 3))
        x = layers.ReLU()(layers.Add()([x, convolution(x, filters, 3)]))
    x = layers.Concatenate()([layers.GlobalAveragePooling2D()(x), layers.GlobalMaxPooling2D()(x)])
    return layers.Dense(classes, name="logits")(layers.Dropout(dropout)(x))


ARCHITECTURE = Architecture(
    name="efficient",
    build=build,
    origin="genreflow: at most 150,000 parameters, and 3 ms of one core for a track of 30 s",
    reported="",
    space={
        "width": Choice(values=(8, 12, 16), default=16),
        "dropout": Float(low=0.0, high=0.7, default=0.5),
    },
    learning_rate=Float(low=3e-4, high=1e-2, default=3e-3, log=True),
    optimiser="adamw",
)
