"""What is predicted for a track, and when a prediction has no genre."""

from dataclasses import asdict, dataclass
from typing import Any, Literal

from genreflow.bundle import Bundle

Reason = Literal["unfamiliar", "uncertain"]


@dataclass(frozen=True)
class Segment:
    """The prediction for one segment of a track.

    Parameters
    ----------
    start, end : float >= 0 [s]
    genre : str
        The most probable genre.
    confidence : float in [0, 1]
        Its probability.
    """

    start: float
    end: float
    genre: str
    confidence: float


@dataclass(frozen=True)
class Prediction:
    """The prediction for one track.

    Parameters
    ----------
    genre : str or None
        The most probable genre; None if the classifier abstains.
    reason : {"unfamiliar", "uncertain"} or None
        Why it abstains: the track is unlike the music that the model was trained on, or no genre is probable enough;
        None if there is a genre.
    confidence : float in [0, 1]
        The highest probability, also if the classifier abstains.
    unfamiliarity : float in [0, 2] or None
        Distance from the training music: the mean cosine distance to the nearest prototypes. None if the bundle has
        none.
    probabilities : dict of str to float in [0, 1]
        Probability of each genre, in descending order; they sum to 1. The mean over the segments.
    segments : list of Segment
        In temporal order. They overlap if the hop is shorter than a segment.
    duration : float > 0 [s]
    short : bool
        Whether the track is shorter than a segment and was padded with silence.
    """

    genre: str | None
    reason: Reason | None
    confidence: float
    unfamiliarity: float | None
    probabilities: dict[str, float]
    segments: list[Segment]
    duration: float
    short: bool

    def to_dict(self, model: dict[str, Any]) -> dict[str, Any]:
        """Return the prediction ready for JSON, with the model that made it (`Predictor.model`)."""
        return asdict(self) | {"model": model}


def abstention_reason(bundle: Bundle, confidence: float, unfamiliarity: float | None) -> Reason | None:
    """Return why a track gets no genre; None if it gets one.

    Parameters
    ----------
    bundle : Bundle
    confidence : float in [0, 1]
    unfamiliarity : float in [0, 2] or None
    """
    if bundle.familiarity is not None and unfamiliarity is not None and unfamiliarity > bundle.familiarity.refuse_above:
        return "unfamiliar"
    return "uncertain" if confidence < bundle.abstain_below else None
