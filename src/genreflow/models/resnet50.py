"""`resnet50`: the residual network of He et al. (2016), as Keras ships it.

Published for 80x80 images of 8 genres without pretraining, with a reported accuracy of about 25 % of validation images.

References
----------
He, Zhang, Ren, Sun: Deep Residual Learning for Image Recognition. CVPR 2016.
"""

from typing import TYPE_CHECKING

from genreflow.models.architecture import EIGHT_GENRES, Architecture
from genreflow.models.dimensions import File, Float

if TYPE_CHECKING:
    from keras import KerasTensor


def build(image: "KerasTensor", *, classes: int, dropout: float, weights: str) -> "KerasTensor":
    """Build the body: ResNet-50 without its top, global average pooling, dropout and one dense layer.

    Parameters
    ----------
    image : keras.KerasTensor [shape=(batch, time, frequency, 1)]
    classes : int >= 2
    dropout : float in [0, 1)
        0 as published.
    weights : str
        File of ImageNet weights without top, in Keras' format; empty: random initial weights. ImageNet weights take
        three channels, which are three copies of the one.

    Returns
    -------
    keras.KerasTensor [shape=(batch, classes)]
        Logits.
    """
    from keras import applications, layers

    x = layers.Concatenate()([image] * 3) if weights else image
    resnet = applications.ResNet50(include_top=False, weights=weights or None, input_shape=x.shape[1:], pooling="avg")
    return layers.Dense(classes, name="logits")(layers.Dropout(dropout)(resnet(x)))


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
        min_image=(32, 32),
        protocol=EIGHT_GENRES,
    ),
)
