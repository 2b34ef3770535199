"""`accurate`: several nets of `efficient`'s kind in one graph, trained together, their logits averaged.

The members differ in their first weights and in how many bands their first filters cover. On training tracks of the
fault-filtered GTZAN split, folds without a common artist and training segments through a random equaliser, three
members told 67.5 % of the one fold tried right (standard error 4 points, one run), one net 61.3 %; of the split's 197
validation tracks 61.9 against 58.9 % (standard error 3.5). Four of which half were left out at random per
segment, so that each would answer for itself, learnt slowly (24 epochs: 62.5 % of two folds; one net after 36: 63.5 %).
A residual 2-D net (short chunks, Won et al. 2020) was no better than `efficient` at its size and took twice as long.
"""

from genreflow.models.architecture import Architecture, Protocol
from genreflow.models.dimensions import Choice, Float, Int
from genreflow.models.efficient import NARROW, OPTIONS, features

# Bands under the first filters of every other member: taller shapes hold timbres rather than single partials.
TALL = 15


def build(image, *, classes: int, members: int, width: int, hidden: int, dropout: float):
    """`members` nets on the same image; `width`, `hidden` and `dropout` are those of each, as in `efficient`."""
    from keras import layers

    answers = []
    for member in range(members):
        x = features(image, bands=TALL if member % 2 else NARROW, width=width, hidden=hidden)
        answers.append(layers.Dense(classes)(layers.Dropout(dropout)(x)))
    return layers.Average(name="logits")(answers)


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
        protocol=Protocol(options=OPTIONS),
    ),
)
