"""A row of the registry of architectures, and the protocol it was published with."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from genreflow.models.dimensions import Dimension, Float

if TYPE_CHECKING:
    from keras import KerasTensor


@dataclass(frozen=True, kw_only=True)
class TrainingProtocol:
    """How a system was trained and evaluated by its authors, as far as that can be done with any data.

    Parameters
    ----------
    seconds, hop_seconds : float > 0 [s]
        Length of a segment, and distance between the starts of two.
    genres : int >= 2
        Number of genres; of data with more, the first in alphabetical order.
    by : {"segment", "track"}
        What was split at random: the segments of all tracks (into train and valid; evaluated on valid), or tracks
        regardless of their artists (into train, valid and test; evaluated on test). Both leak.
    train_share : float in (0, 1)
        Share of segments or tracks that are trained on; valid and test divide the remaining tracks equally.
    options : mapping
        Fields of `genreflow.training.options.FitOptions`. For a published system the others regularise nothing
        (`FitOptions.unregularised`), for our own they are those of params.yaml.
    chosen : str
        What the authors do not state and was chosen here.
    """

    seconds: float = 4.0
    hop_seconds: float = 2.0
    genres: int = 10
    by: Literal["segment", "track"] = "segment"
    train_share: float = 0.8
    options: Mapping[str, Any] = field(default_factory=dict)
    chosen: str = ""

    @property
    def summary(self) -> str:
        """Data and split, such as "8 genres, segments of 2 s every 2 s, 80 % of the segments train"."""
        return (
            f"{self.genres} genres, segments of {self.seconds:g} s every {self.hop_seconds:g} s, "
            f"{self.train_share:.0%} of the {self.by}s train".replace("%", " %")
        )


# Of the systems on 80x80 images: 15 segments of 2 s a track, of which 80 % train. The authors of one of them state 50
# epochs of batches of 128; that is assumed of all.
EIGHT_GENRES = TrainingProtocol(
    seconds=2.0,
    hop_seconds=2.0,
    genres=8,
    options={"epochs": 50, "batch_size": 128},
    chosen="which 8 genres, optimiser, learning rate, epochs, batches",
)


@dataclass(frozen=True, kw_only=True)
class Architecture:
    """A row of the registry.

    Parameters
    ----------
    name : str
    build : callable
        ``build(image, *, classes, **hyperparameters) -> logits``: the body, from a symbolic tensor of shape
        (batch, time, frequency, 1), or (batch, size) with `embedding`, to one of shape (batch, classes). Imports Keras
        inside.
    origin : str
        Where the structure comes from.
    reported : str
        Accuracy that its authors published, on their own protocol; empty for our own.
    learning_rate : Float
        Range and default for `optimiser`.
    optimiser : str
        One of `genreflow.training.options.Optimiser`.
    image : tuple of two int > 0 or None
        Time steps and bands of the body's input, to which the front end resizes every segment; None: not resized.
    coefficients : int > 0 or None
        Number of MFCC that replace the mel bands; None: mel bands.
    embedding : bool
        Whether the body takes the embeddings of segments, which a pretrained network computes, instead of the segments.
    whole_track : bool
        Whether the body takes a whole track instead of a segment of some seconds.
    parameters : int > 0 or None
        Published number of parameters of the body, trainable or not, for `published_classes`; None: not published.
    published_classes : int >= 2
    space : mapping of str to Dimension
        Hyperparameters of `build`; their defaults give the published structure.
    min_image : tuple of two int > 0
        Fewest time steps and bands that the pooling layers leave something of.
    protocol : TrainingProtocol
    keep : {"best", "last"}
        Default of `genreflow.training.options.FitOptions.keep`.
    bfloat16 : bool
        Whether training was measured to be faster with products in bfloat16, on a processor with instructions for them.
    """

    name: str
    build: Callable[..., "KerasTensor"]
    origin: str
    reported: str
    learning_rate: Float
    optimiser: str
    image: tuple[int, int] | None = None
    coefficients: int | None = None
    embedding: bool = False
    whole_track: bool = False
    parameters: int | None = None
    published_classes: int = 8
    space: Mapping[str, Dimension] = field(default_factory=dict)
    min_image: tuple[int, int] = (1, 1)
    protocol: TrainingProtocol = field(default_factory=TrainingProtocol)
    keep: Literal["best", "last"] = "best"
    bfloat16: bool = False

    @property
    def published(self) -> bool:
        """Whether others published it, with an accuracy to compare with."""
        return bool(self.reported)
