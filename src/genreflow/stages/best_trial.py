"""The configuration that `tune` chose, as the stages after it read it from best_trial.json."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Self, TypeVar

from genreflow.constraints import describe_damage
from genreflow.errors import DamagedFileError, ParameterError
from genreflow.models import MODELS
from genreflow.stages import BEST
from genreflow.stages.stage_results import read_result
from genreflow.training.options import FitOptions
from genreflow.training.params import SegmentParams

T = TypeVar("T")


@dataclass(frozen=True)
class BestTrial:
    """A configuration.

    Parameters
    ----------
    study : str
    architecture : str
        Key of `genreflow.models.MODELS`.
    hyperparameters : dict
    learning_rate : float > 0
    train, segments : dict
        Searched fields of `train` and `segments` in params.yaml.
    """

    study: str
    architecture: str
    hyperparameters: dict[str, Any]
    learning_rate: float
    train: dict[str, Any]
    segments: dict[str, Any]

    @classmethod
    def load(cls) -> Self:
        """Read best_trial.json.

        Raises
        ------
        ParameterError
            The file is missing or damaged.
        """
        best = read_result(BEST, cls, stage="tune")
        if best.architecture not in MODELS:
            raise _damaged(f"architecture {best.architecture}")
        return best

    def segment_params(self, segments: SegmentParams) -> SegmentParams:
        """Return `segments` of params.yaml, replaced with what the study searched.

        Raises
        ------
        ParameterError
            A value is out of range, or a parameter unknown.
        """
        return _validated(lambda: segments.override(self.segments))

    def fit_options(self, train: FitOptions) -> FitOptions:
        """Return `train` of params.yaml, replaced with what the study searched; exceptions as `segment_params`."""
        rate = train.learning_rate or self.learning_rate
        return _validated(
            lambda: FitOptions.model_validate({**train.model_dump(), **self.train, "learning_rate": rate})
        )


def _validated(make: Callable[[], T]) -> T:
    try:
        return make()
    except ValueError as error:
        raise _damaged(describe_damage(error)) from None


def _damaged(found: str) -> ParameterError:
    return DamagedFileError(BEST, f"{BEST}: must be what the stage tune wrote; got {found}. Run `dvc repro tune`.")
