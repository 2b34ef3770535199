"""What the registry knows of an architecture."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from genreflow.models.space import Dimension, Float


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
