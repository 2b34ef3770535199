"""One line of the log of predictions: its fields, and how they are written and read."""

import base64
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import numpy as np

from genreflow.files import json_line
from genreflow.inference.input_summary import InputSummary

# Increase it when a field changes its meaning; earlier lines are then left out.
FORMAT = 1


@dataclass(frozen=True, kw_only=True)
class LoggedPrediction:
    """What the service keeps of a prediction: never the audio, the name of the file or the address of the client.

    Parameters
    ----------
    time : float [s]
        Since the epoch.
    prediction_id, request_id : str
    version : str or None
    bundle : str
        The model: its version, and the hash of its bundle.
    duration : float > 0 [s]
        Of the audio.
    inputs : InputSummary
    embedding : np.ndarray [shape=(size,), dtype=float16] or None
    probabilities : mapping of str to float in [0, 1]
        By genre.
    genre, reason : str or None
    confidence : float in [0, 1]
    unfamiliarity : float in [0, 2] or None
        As in the response.
    seconds : float >= 0 [s]
        What the prediction took.
    """

    time: float
    prediction_id: str
    request_id: str
    version: str | None
    bundle: str
    duration: float
    inputs: InputSummary
    embedding: np.ndarray | None = field(repr=False)
    probabilities: Mapping[str, float]
    genre: str | None
    reason: str | None
    confidence: float
    unfamiliarity: float | None
    seconds: float

    def to_fields(self) -> dict[str, Any]:
        """Return the columns of the log by name, as BentoML's monitoring takes them."""
        return {
            "format": FORMAT,
            "time": utc(self.time),
            "prediction_id": self.prediction_id,
            "request_id": self.request_id,
            "version": self.version,
            "bundle": self.bundle,
            "duration": self.duration,
            "level": None if self.inputs.level is None else round(self.inputs.level, 2),
            "means": [round(value, 4) for value in self.inputs.means],
            "deviations": [round(value, 4) for value in self.inputs.deviations],
            "probabilities": {genre: round(value, 4) for genre, value in self.probabilities.items()},
            "genre": self.genre,
            "reason": self.reason,
            "confidence": round(self.confidence, 4),
            "unfamiliarity": None if self.unfamiliarity is None else round(self.unfamiliarity, 4),
            "seconds": round(self.seconds, 4),
            "embedding": None if self.embedding is None else _to_base64(self.embedding),
        }

    def to_features(self) -> dict[str, float]:
        """Return the values that are compared one by one, named as those of a `DriftReference`."""
        unfamiliarity = math.nan if self.unfamiliarity is None else self.unfamiliarity
        return {**self.inputs.to_features(), "confidence": self.confidence, "unfamiliarity": unfamiliarity}


def to_line(fields: Mapping[str, Any]) -> bytes:
    """Return the columns of a prediction as a line of the log."""
    return f"{json_line(fields)}\n".encode()


def from_line(line: bytes) -> LoggedPrediction:
    """Read a line of the log.

    Raises
    ------
    ValueError
        It is damaged, such as cut, or of another format.
    """
    try:
        row = json.loads(line)
        if row.pop("format") != FORMAT:
            raise ValueError("another format")
        summary = InputSummary(row.pop("level"), tuple(row.pop("means")), tuple(row.pop("deviations")))
        embedding = row.pop("embedding")
        time = datetime.fromisoformat(row.pop("time")).timestamp()
        return LoggedPrediction(
            time=time, inputs=summary, embedding=None if embedding is None else _from_base64(embedding), **row
        )
    except (KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(f"not a prediction: {error}") from None


def utc(seconds: float) -> str:
    """Return a time since the epoch [s] as text, such as 2026-11-26T08:00:00.125Z."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _to_base64(values: np.ndarray) -> str:
    return base64.b64encode(values.astype("<f2").tobytes()).decode()


def _from_base64(text: str) -> np.ndarray:
    return np.frombuffer(base64.b64decode(text, validate=True), "<f2")
