"""What the registry knows of an architecture."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from genreflow.models.dimensions import Dimension, Float


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """How a system was trained and measured by its authors, as far as that can be done with any data.

    Parameters
    ----------
    seconds, hop_seconds : float > 0 [s]
        Length of a segment, and from one start to the next.
    genres : int >= 2
        How many; of data with more, the first in alphabetical order.
    by : {"segment", "track"}
        What was dealt to the parts at random: the segments of every track (train and valid; measured on valid), or
        tracks whoever plays (train, valid and test; measured on test). Both leak.
    train_share : float in (0, 1)
        Share that trains; of tracks, the others share the rest equally.
    options : mapping
        Fields of `genreflow.training.options.FitOptions`. Of a published system all others are off (``plain``), of our
        own they are as ``params.yaml`` has them.
    chosen : str
        What its authors do not state and was chosen here, in a few words.
    """

    seconds: float = 4.0
    hop_seconds: float = 2.0
    genres: int = 10
    by: Literal["segment", "track"] = "segment"
    train_share: float = 0.8
    options: Mapping[str, Any] = field(default_factory=dict)
    chosen: str = ""

    @property
    def in_words(self) -> str:
        """Data and parts as a phrase, such as "8 genres, segments of 2 s every 2 s, 80 % of the segments train"."""
        return (
            f"{self.genres} genres, segments of {self.seconds:g} s every {self.hop_seconds:g} s, "
            f"{self.train_share:.0%} of the {self.by}s train".replace("%", " %")
        )


# The protocol of the systems on images of 80x80: 15 segments of 2 s a track, 80 % of them. Of one of these systems 50
# epochs of batches of 128 are stated; all get them.
EIGHT_GENRES = Protocol(
    seconds=2.0,
    hop_seconds=2.0,
    genres=8,
    options={"epochs": 50, "batch_size": 128},
    chosen="which 8 genres, optimiser, learning rate, epochs, batches",
)


@dataclass(frozen=True, kw_only=True)
class Architecture:
    """One row of the registry.

    Parameters
    ----------
    name : str
    build : callable
        ``build(image, *, classes, **hyperparameters) -> logits``: the body, from a symbolic tensor of shape
        (batch, time, frequency, 1) to one of shape (batch, classes). Keras is imported inside it.
    origin : str
        Where the structure comes from.
    reported : str
        What its authors published, on their own protocol; empty for our own.
    image : tuple of two int or None
        Time steps and bands the body wants; the front end resizes every segment to it. None: the segment as it is.
    coefficients : int or None
        Cepstral coefficients that take the place of the bands (MFCC); None: the bands themselves.
    whole_track : bool
        True where the body is drawn for a whole track rather than for a segment of some seconds.
    parameters : int or None
        Published count of the body, trainable and not, for `published_classes`; None where none was published.
    published_classes : int
    space : mapping of str to Dimension
        The hyperparameters of `build`; the defaults give the published structure.
    learning_rate : Float
        Range and default for `optimiser`.
    optimiser : str
        One of the names of ``training.options``.
    smallest : tuple of two int > 0
        Fewest time steps and bands of an image from which anything is left behind the pooling.
    protocol : Protocol
    bfloat16 : bool
        True where learning is faster with products in bfloat16, on a processor that has them; measured.
    """

    name: str
    build: Callable[..., Any]
    origin: str
    reported: str
    learning_rate: Float
    optimiser: str
    image: tuple[int, int] | None = None
    coefficients: int | None = None
    whole_track: bool = False
    parameters: int | None = None
    published_classes: int = 8
    space: Mapping[str, Dimension] = field(default_factory=dict)
    smallest: tuple[int, int] = (1, 1)
    protocol: Protocol = field(default_factory=Protocol)
    bfloat16: bool = False

    @property
    def published(self) -> bool:
        """Whether it is someone else's, with a figure to compare with."""
        return bool(self.reported)
