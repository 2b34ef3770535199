"""The results that stages read from each other as JSON; what is damaged is refused before any work."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from genreflow.constraints import DAMAGED, describe_damage
from genreflow.errors import DamagedFileError, ParameterError
from genreflow.files import read_json

Baselines = dict[str, dict[str, str]]  # {baseline: {track ID: predicted genre}}
Metrics = dict[str, dict[str, dict[str, float]]]  # {part: {unit: {name: value}}}


@dataclass(frozen=True)
class Prediction:
    """The prediction of a test track."""

    track: str
    actual: str
    predicted: str


@dataclass(frozen=True)
class EvaluationSummary:
    """What the gate needs of an evaluation."""

    majority_accuracy: float


def read_result(path: Path, kind: Any, *, stage: str) -> Any:
    """Read what a stage wrote.

    Parameters
    ----------
    path : Path
        A JSON file.
    kind : type
        What it must hold; names that a dataclass does not have are ignored.
    stage : str
        The stage that writes it.

    Returns
    -------
    object
        Of the type `kind`.

    Raises
    ------
    ParameterError
        The file is missing or damaged.
    """
    try:
        return TypeAdapter(kind).validate_python(read_json(path))
    except FileNotFoundError:
        raise ParameterError(f"{path}: must exist; `dvc repro {stage}` writes it.") from None
    except DAMAGED as error:
        raise DamagedFileError(
            path,
            f"{path}: must be what the stage {stage} wrote; got {describe_damage(error)}. Run `dvc repro {stage}`.",
        ) from None
