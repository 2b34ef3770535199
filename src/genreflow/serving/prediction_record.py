"""What is known of a classified file when its response is made, for what is written about it."""

import uuid
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # BentoML's supervisor, which imports this too, needs no predictor
    from genreflow.inference.predictor import Analysis


def new_prediction_id() -> str:
    """Return a random ID, 32 hexadecimal digits, that nobody can guess."""
    return uuid.uuid4().hex


@dataclass(frozen=True, kw_only=True)
class PredictionRecord:
    """One classified file.

    Parameters
    ----------
    analysis : Analysis
        The prediction, with a summary of the sound.
    request_id : str or None
        Of the request that had the file. Clients may set it, and the files of a batch share it: it identifies nothing.
        None for the clip that the service sends itself to find out whether it is well.
    seconds : float >= 0 [s]
        From the beginning of decoding to the prediction.
    prediction_id : str
        Made by the service, one for each file.
    """

    analysis: "Analysis"
    request_id: str | None
    seconds: float
    prediction_id: str = field(default_factory=new_prediction_id)

    def to_dict(self, model: dict[str, Any]) -> dict[str, Any]:
        """Return the response for this file, with the model that made it (`Predictor.model`)."""
        return {"prediction_id": self.prediction_id, **self.analysis.prediction.to_dict(model)}
