"""`resnet50`: the residual network of He et al. (2016) as Keras ships it, from scratch or from a local weights file."""

from genreflow.models.architecture import EIGHT_GENRES, Architecture
from genreflow.models.dimensions import File, Float


def build(image, *, classes: int, dropout: float, weights: str):
    """ResNet-50 without its top, mean over the image, one dense layer.

    With `weights`, a file of ImageNet weights without top in Keras' format, the one channel is repeated three times, as
    that net wants it; without, the net has the one channel.
    """
    from keras import applications, layers

    x = layers.Concatenate()([image] * 3) if weights else image
    net = applications.ResNet50(include_top=False, weights=weights or None, input_shape=x.shape[1:], pooling="avg")
    return layers.Dense(classes, name="logits")(layers.Dropout(dropout)(net(x)))


ARCHITECTURES = (
    Architecture(
        name="resnet50",
        bfloat16=True,
        build=build,
        origin="He et al. 2016; published on 80x80 images, 8 genres, without pretraining",
        reported="about 25 % of validation images",
        image=(80, 80),
        space={"dropout": Float(low=0.0, high=0.7, default=0.0), "weights": File()},
        learning_rate=Float(low=1e-4, high=1e-1, default=1e-2, log=True),
        optimiser="momentum",
        smallest=(32, 32),
        protocol=EIGHT_GENRES,
    ),
)
