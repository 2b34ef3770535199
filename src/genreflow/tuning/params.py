"""Parameters of `tune` in params.yaml."""

from typing import Annotated, Literal, Self

from pydantic import Discriminator, Field, Tag, model_validator

from genreflow.errors import ParameterError
from genreflow.frozen import FrozenModel
from genreflow.models import MODELS, validate_hyperparameters


class Range(FrozenModel):
    """A range of a knob that a study searches."""

    low: float
    high: float
    log: bool = Field(default=False, description="whether its order of magnitude is what matters")

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if not self.low <= self.high or (self.log and self.low <= 0):
            raise ValueError("a range is {low, high} with low <= high, and low above 0 where log is true")
        return self


# What is wrong is then said of the one that was meant.
Searched = Annotated[
    Annotated[Range, Tag("range")] | Annotated[list[bool | int | float | str | None], Tag("choices")],
    Discriminator(lambda given: "range" if isinstance(given, dict | Range) else "choices"),
]


class TuneParams(FrozenModel):
    trials: int | None = Field(default=8, ge=1, le=100_000, description="null: as many as fit into the hours")
    hours: float | None = Field(default=None, gt=0, description="of work on the study; null: no limit")
    epochs: int = Field(default=10, ge=1, le=10_000, description="of a trial at most")
    architectures: tuple[str, ...] = Field(min_length=1)
    search: dict[str, Searched] = Field(
        default_factory=dict, description="knobs of train and segments that trials vary: choices, or a range"
    )
    startup_trials: int = Field(default=3, ge=0, description="trials that finish before any is pruned")
    warmup_epochs: int = Field(default=3, ge=0, description="epochs of a trial before it may be pruned")
    learning_rate: tuple[float, float] | None = Field(default=None, description="[low, high]; null: the architecture's")
    fixed: dict[str, dict[str, bool | int | float | str]] = Field(
        default_factory=dict, description="hyperparameters that are given instead of searched, by architecture"
    )
    objectives: tuple[Literal["track_accuracy", "parameters", "latency_ms", "memory_mb"], ...] = Field(
        default=("track_accuracy",), min_length=1, description="the first is track_accuracy"
    )
    max_params: int | None = Field(default=None, ge=1, description="of a model; null: no limit")
    max_latency_ms: float | None = Field(default=None, gt=0, description="for a clip on one core [ms]")
    max_memory_mb: float | None = Field(default=None, gt=0, description="of the whole service at its peak [MiB]")
    pick: Literal["best", "one_standard_error"] = Field(default="best", description="which trial is trained")
    start_from: Literal["previous"] | None = Field(
        default=None, description="previous: a new study tries the best trials of the one before it first"
    )
    seed: int = Field(default=1, ge=0)

    @model_validator(mode="after")
    def _known_and_ordered(self) -> Self:
        for name in self.architectures:
            if name not in MODELS:
                raise ValueError(f"tune.architectures names {name!r}; there are {', '.join(MODELS)}")
        for name, values in self.fixed.items():
            if name not in self.architectures:
                raise ValueError(f"tune.fixed names {name!r}, which is not one of tune.architectures")
            try:
                validate_hyperparameters(name, values)
            except ParameterError as error:
                raise ValueError(f"tune.fixed: {str(error).removesuffix('.')}") from None
        if self.learning_rate and not 0 < self.learning_rate[0] <= self.learning_rate[1] <= 10:
            raise ValueError("tune.learning_rate is [low, high] with 0 < low <= high <= 10")
        if self.trials is None and self.hours is None:
            raise ValueError("tune.trials and tune.hours are both null; one of them must end the study")
        if self.objectives[0] != "track_accuracy" or len(set(self.objectives)) < len(self.objectives):
            raise ValueError("tune.objectives must begin with track_accuracy, and name each of the others once at most")
        return self
