"""`efficient`: our own small net, a strided 2-D front and a short 1-D net in which every register has its own weights.

The front looks for shapes (onsets, partials) wherever they are. Then the bands are pooled to a few groups and become
channels, so that what follows knows in which register it found something, and only time is pooled away. Bands as
channels from the first layer on overfitted the bands; pooling over all of them forgot the register and learnt slowly.
"""

from genreflow.models.architecture import Architecture
from genreflow.models.space import Choice, Float

# Time steps behind the first convolution, about: what a segment costs hardly depends on its frame rate.
TIME_STEPS = 48
# Groups of neighbouring bands that the net tells apart, at least, where there are as many.
REGISTERS = 8


def build(image, *, classes: int, width: int, dropout: float):
    """Two 2-D convolutions, bands into channels, a residual pair of 1-D ones, mean and maximum over time.

    The first kernel covers seven bands and at least twice its own stride in time, so that no frame is passed over.
    `width` is the number of its filters, and everything else goes with it; `dropout` acts before the last layer.
    """
    from keras import layers

    def convolution(layer, x, filters, kernel, strides=1):
        x = layer(filters, kernel, strides=strides, padding="same", use_bias=False, kernel_initializer="he_normal")(x)
        # Fits are short: the usual 0.99 would still remember the first weights at the end.
        return layers.BatchNormalization(momentum=0.9)(x)

    stride = max(1, image.shape[1] // TIME_STEPS)
    x = layers.ReLU()(convolution(layers.Conv2D, image, width, (2 * stride + 1, 7), (stride, 4)))
    x = layers.MaxPooling2D(2, padding="same")(x)
    x = layers.ReLU()(convolution(layers.Conv2D, x, width, 3))
    x = layers.MaxPooling2D((1, max(1, x.shape[2] // REGISTERS)), padding="same")(x)
    time, registers, filters = x.shape[1:]
    x = layers.Reshape((time, registers * filters))(x)
    x = layers.ReLU()(convolution(layers.Conv1D, x, 4 * width, 1))
    y = layers.ReLU()(convolution(layers.Conv1D, x, 4 * width, 3))
    x = layers.ReLU()(layers.Add()([x, convolution(layers.Conv1D, y, 4 * width, 3)]))
    x = layers.Concatenate()([layers.GlobalAveragePooling1D()(x), layers.GlobalMaxPooling1D()(x)])
    return layers.Dense(classes, name="logits")(layers.Dropout(dropout)(x))


ARCHITECTURES = (
    Architecture(
        name="efficient",
        build=build,
        origin="genreflow: at most 150,000 parameters, and 3 ms of one core for a track of 30 s",
        reported="",
        space={
            "width": Choice(values=(8, 12, 16), default=16),
            "dropout": Float(low=0.0, high=0.7, default=0.3),
        },
        learning_rate=Float(low=1e-3, high=3e-2, default=1e-2, log=True),
        optimiser="adamw",
    ),
)
