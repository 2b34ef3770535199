"""`accurate`: an ensemble of networks like `efficient` in one graph, trained together; their logits are averaged.

The members differ in their initial weights and in the height of their first filters. On tracks of the training part of
the fault-filtered GTZAN split, in artist-disjoint folds, with a random equaliser as augmentation, an ensemble of three
classified 67.5 % of tracks correctly in the one fold tried (standard error 4 points, single run), one network 61.3 %.
On the split's 197 validation tracks it was 61.9 against 58.9 % (standard error 3.5 points).

Also tried: four members of which a random half was dropped per segment, so that each member learns to classify by
itself, which converged slowly (24 epochs: 62.5 % over two folds; one network after 36: 63.5 %); a residual 2-D network
(short-chunk CNN, Won et al. 2020), which was no better than `efficient` at its size and took twice as long.
"""

from typing import TYPE_CHECKING

from genreflow.models.architecture import Architecture, TrainingProtocol
from genreflow.models.dimensions import Choice, Float, Int
from genreflow.models.efficient import FILTER_BANDS, OPTIONS, extract_features

if TYPE_CHECKING:
    from keras import KerasTensor

# Bands covered by the first filters of every other member. Tall filters capture timbre rather than single partials.
TALL_FILTER_BANDS = 15


def build(
    image: "KerasTensor", *, classes: int, members: int, width: int, hidden: int, dropout: float
) -> "KerasTensor":
    """Build the body.

    Parameters
    ----------
    image : keras.KerasTensor [shape=(batch, time, frequency, 1)]
    classes : int >= 2
    members : int > 0
        Networks in the ensemble.
    width, hidden, dropout
        Of each member, see `genreflow.models.efficient.build`.

    Returns
    -------
    keras.KerasTensor [shape=(batch, classes)]
        Logits.
    """
    from keras import layers

    logits = []
    for member in range(members):
        bands = TALL_FILTER_BANDS if member % 2 else FILTER_BANDS
        x = extract_features(image, bands=bands, width=width, hidden=hidden)
        logits.append(layers.Dense(classes)(layers.Dropout(dropout)(x)))
    return layers.Average(name="logits")(logits)


ARCHITECTURES = (
    Architecture(
        name="accurate",
        build=build,
        origin="genreflow: the highest accuracy on unseen artists that two cores can train in an hour",
        reported="",
        space={
            "members": Int(low=2, high=6, default=3),
            "width": Choice(values=(8, 16, 32), default=16),
            "hidden": Choice(values=(32, 64, 96, 128), default=96),
            "dropout": Float(low=0.0, high=0.7, default=0.3),
        },
        learning_rate=Float(low=1e-3, high=3e-2, default=1e-2, log=True),
        optimiser="adamw",
        protocol=TrainingProtocol(options=OPTIONS),
    ),
)
