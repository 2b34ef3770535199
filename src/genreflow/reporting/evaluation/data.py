"""An evaluation as the report draws it, read from the files that the stages write."""

import csv
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

from pydantic import Field

from genreflow.constraints import describe_damage
from genreflow.errors import GenreflowError

# Columns of learning_curves.csv that are drawn.
CURVES = ("accuracy", "loss", "val_accuracy", "val_loss", "val_track_accuracy")
Share = Annotated[float, Field(ge=0, le=1)]


@dataclass(frozen=True)
class Prediction:
    """The prediction of a held-out track.

    Parameters
    ----------
    track : str
        ID.
    actual, predicted : str
        Genres.
    confidence : float in [0, 1]
    unfamiliarity : float in [0, 2] or None
        Distance from the training music; None if the model has no measure.
    """

    track: str
    actual: str
    predicted: str
    confidence: Share
    unfamiliarity: Annotated[float, Field(ge=0, le=2)] | None = None

    @property
    def correct(self) -> bool:
        return self.actual == self.predicted


@dataclass(frozen=True)
class GenreMetrics:
    """Precision, recall and F1 score of a genre, in [0, 1], with their 95 % intervals, and its number of tracks."""

    precision: Share
    recall: Share
    f1: Share
    support: int
    precision_interval: tuple[Share, Share]
    recall_interval: tuple[Share, Share]
    f1_interval: tuple[Share, Share]


@dataclass(frozen=True)
class Metrics:
    """Metrics of tracks or segments; see `genreflow.evaluation.metrics.evaluate`."""

    n: int
    accuracy: Share
    accuracy_low: Share
    accuracy_high: Share
    macro_f1: Share
    calibration_error: Share
    log_loss: float
    per_genre: dict[str, GenreMetrics]
    confusion: list[list[int]]


@dataclass(frozen=True)
class Baseline:
    """A baseline on the same tracks."""

    baseline: str
    accuracy: Share
    accuracy_low: Share
    accuracy_high: Share
    probability_model_better: Share


@dataclass(frozen=True)
class Evaluation:
    """Content of ``reports/evaluation.json``."""

    part: str
    split: str
    leaking: bool
    notes: list[str]
    baselines: list[Baseline]
    abstained: int
    unfamiliar: int
    answered_accuracy: Share | None
    track: Metrics
    segment: Metrics
    baseline_notes: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Usage:
    """What ``reports/gate.json`` says of a version: whether and why it was promoted, uses of its test part."""

    registered_model: str
    version: str
    promote: bool
    reason: str
    times_test_split_used: int | None


def load_curves(path: Path) -> dict[str, list[float]]:
    """Read ``reports/learning_curves.csv``.

    Returns
    -------
    dict of str to list of float [shape=(epochs,)]
        The columns of `CURVES`.

    Raises
    ------
    GenreflowError
        The file is missing or damaged.
    """
    try:
        with path.open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
        if not rows:
            raise ValueError("no rows")
        return {name: [float(row[name]) for row in rows] for name in CURVES}
    except FileNotFoundError:
        raise GenreflowError(f"{path} must exist; `dvc repro train` writes it.") from None
    except (OSError, ValueError, TypeError, KeyError, csv.Error) as error:
        raise GenreflowError(
            f"{path} must be a table with the columns {', '.join(CURVES)}; got {describe_damage(error)}. "
            "`dvc repro --force train` writes it again."
        ) from None


def most_confident_mistakes(predictions: list[Prediction], n: int) -> list[Prediction]:
    """Return the `n` wrong predictions with the highest confidence, the highest first."""
    wrong = [prediction for prediction in predictions if not prediction.correct]
    return sorted(wrong, key=lambda prediction: (-prediction.confidence, prediction.track))[:n]


def reliability(predictions: list[Prediction], *, n_bins: int = 10) -> list[dict[str, float]]:
    """Return the accuracy of tracks by their confidence.

    Parameters
    ----------
    predictions : list of Prediction
    n_bins : int > 0
        Bins of equal width, open on the left.

    Returns
    -------
    list of dict
        ``low``, ``high``, ``n``, ``confidence`` (mean) and ``accuracy`` of each bin that is not empty.
    """
    rows = []
    for number in range(n_bins):
        low, high = number / n_bins, (number + 1) / n_bins
        own = [p for p in predictions if low < p.confidence <= high or (number == 0 and p.confidence == 0)]
        if own:
            rows.append(
                {
                    "low": low,
                    "high": high,
                    "n": len(own),
                    "confidence": sum(p.confidence for p in own) / len(own),
                    "accuracy": sum(p.correct for p in own) / len(own),
                }
            )
    return rows


def accuracy_by_familiarity(predictions: list[Prediction], *, n_bins: int = 5) -> list[dict[str, float]]:
    """Return the accuracy of tracks by how unlike the training music they are.

    Parameters
    ----------
    predictions : list of Prediction
        Those without a measure are left out.
    n_bins : int > 0
        Bins of about as many tracks each.

    Returns
    -------
    list of dict
        ``low``, ``high`` and ``unfamiliarity`` (mean) in [0, 2], ``n`` and ``accuracy`` of each bin that is not empty.
    """
    known = sorted((p.unfamiliarity, p.correct) for p in predictions if p.unfamiliarity is not None)
    rows = []
    for number in range(n_bins):
        own = known[len(known) * number // n_bins : len(known) * (number + 1) // n_bins]
        if own:
            values = [value for value, _ in own]
            rows.append(
                {
                    "low": values[0],
                    "high": values[-1],
                    "unfamiliarity": sum(values) / len(own),
                    "n": len(own),
                    "accuracy": sum(correct for _, correct in own) / len(own),
                }
            )
    return rows


def accuracy_by_coverage(predictions: list[Prediction]) -> tuple[list[float], list[float]]:
    """Return how accurate the most confident predictions are.

    Returns
    -------
    coverage, accuracy : list of float in [0, 1] [shape=(n_confidences,)]
        Share of the tracks with at least some confidence, and the accuracy on these.
    """
    ordered = sorted(predictions, key=lambda prediction: -prediction.confidence)
    coverage, accuracy, correct = [], [], 0
    for number, prediction in enumerate(ordered, start=1):
        correct += prediction.correct
        # Tracks of equal confidence cannot be separated.
        if number == len(ordered) or ordered[number].confidence < prediction.confidence:
            coverage.append(number / len(ordered))
            accuracy.append(correct / number)
    return coverage, accuracy
