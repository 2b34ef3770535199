"""Parameters of `tune` in params.yaml: the only place of their defaults, units and ranges."""

from typing import Annotated, Literal, Self

from pydantic import Discriminator, Field, Tag, field_validator, model_validator

from genreflow.errors import ParameterError
from genreflow.frozen import FrozenModel
from genreflow.models import MODELS, validate_hyperparameters

# The highest learning rate that a study may search; `genreflow.training.options.FitOptions` has the same limit.
MAX_LEARNING_RATE = 10.0

# The databases for which a study has a lock that ends with the process that holds it.
STORAGE_BACKENDS = ("sqlite", "postgresql")


def check_storage_url(url: str) -> None:
    """Check the form of the URL of Optuna's storage; ValueError if it is of no database that is supported."""
    backend, separator, rest = url.partition("://")
    if backend.partition("+")[0] not in STORAGE_BACKENDS or not separator:
        raise ValueError(
            "must be an SQLite or PostgreSQL database, sqlite:///optuna.db or postgresql://user@host/database; got "
            f"{without_password(url)}"
        )
    if backend.startswith("sqlite") and not (rest.startswith("/") and rest.strip("/") not in ("", ":memory:")):
        raise ValueError(f"must name a file, as in sqlite:///optuna.db; got {url}")


def without_password(url: str) -> str:
    """Return the URL of a database without its password, for messages."""
    head, at, tail = url.rpartition("@")
    return f"{head.rpartition(':')[0]}:***{at}{tail}" if at and head.count(":") > 1 else url


class Range(FrozenModel):
    """An interval of values to search."""

    low: float
    high: float
    log: bool = Field(default=False, description="sample on a logarithmic scale")

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.low > self.high:
            raise ValueError(f"must be {{low, high}} with low <= high; got low {self.low:g} and high {self.high:g}")
        if self.log and self.low <= 0:
            raise ValueError(f"must have low > 0 where log is true; got low {self.low:g}")
        return self


# A mapping is validated as a range, anything else as a list of choices, so that the message is about what was meant.
SearchedValues = Annotated[
    Annotated[Range, Tag("range")] | Annotated[list[bool | int | float | str | None], Tag("choices")],
    Discriminator(lambda given: "range" if isinstance(given, dict | Range) else "choices"),
]


class TuneParams(FrozenModel):
    """What a study searches, what it optimises, and how long it runs."""

    trials: int | None = Field(
        default=8, ge=1, le=100_000, description="trials of the study in all its runs; null: as many as hours allow"
    )
    hours: float | None = Field(
        default=None, gt=0, description="time in which trials run, in all runs of the study; null: no limit [h]"
    )
    epochs: int = Field(default=10, ge=1, le=10_000, description="maximum epochs per trial")
    architectures: tuple[str, ...] | None = Field(
        default=None,
        min_length=1,
        description="each with its own search space, `genreflow models` lists them; null: musicnn and efficient for "
        "music, efficient and parallel_cnn for the demo and spectrograms",
    )
    search: dict[str, SearchedValues] = Field(
        default_factory=dict,
        description="parameters of train and segments that are searched: a list of choices, or {low, high, log}",
    )
    startup_trials: int = Field(default=3, ge=0, description="trials that must complete before any is pruned")
    warmup_epochs: int = Field(default=3, ge=0, description="epochs of a trial before it may be pruned")
    learning_rate: tuple[float, float] | None = Field(
        default=None, description="[low, high] instead of each architecture's own range; null: its own"
    )
    fixed: dict[str, dict[str, bool | int | float | str]] = Field(
        default_factory=dict, description="hyperparameters that are set instead of searched, by architecture"
    )
    objectives: tuple[Literal["track_accuracy", "parameters", "latency_ms", "memory_mb"], ...] = Field(
        default=("track_accuracy",), min_length=1, description="track_accuracy first, then any costs to minimise"
    )
    max_params: int | None = Field(default=None, ge=1, description="parameters of a model; null: no limit")
    max_latency_ms: float | None = Field(
        default=None, gt=0, description="latency of one clip on one core; null: no limit [ms]"
    )
    max_memory_mb: float | None = Field(
        default=None, gt=0, description="peak memory of the whole service; null: no limit [MiB]"
    )
    pick: Literal["best", "one_standard_error"] = Field(
        default="best",
        description="the trial to train: the most accurate one, or the cheapest within one standard error of it",
    )
    start_from: Literal["previous"] | None = Field(
        default=None, description="previous: a new study first repeats the best trials of the study before it"
    )
    seed: int = Field(default=1, ge=0, le=2**32 - 1, description="seed of Optuna's sampler")

    @field_validator("architectures")
    @classmethod
    def _known_architectures(cls, names: tuple[str, ...] | None) -> tuple[str, ...] | None:
        for name in names or ():
            if name not in MODELS:
                raise ValueError(f"must be names from `genreflow models` ({', '.join(MODELS)}); got {name}")
        return names

    @field_validator("learning_rate")
    @classmethod
    def _learning_rate_range(cls, value: tuple[float, float] | None) -> tuple[float, float] | None:
        if value is not None and not 0 < value[0] <= value[1] <= MAX_LEARNING_RATE:
            raise ValueError(f"must be [low, high] with 0 < low <= high <= {MAX_LEARNING_RATE:g}; got {list(value)}")
        return value

    @field_validator("objectives")
    @classmethod
    def _accuracy_first(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if value[0] != "track_accuracy" or len(set(value)) < len(value):
            raise ValueError(f"must begin with track_accuracy and name no objective twice; got {list(value)}")
        return value

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        for name, values in self.fixed.items():
            try:
                validate_hyperparameters(name, values)
            except ParameterError as error:
                raise ValueError(f"tune.fixed: {str(error).removesuffix('.')}") from None
        if self.trials is None and self.hours is None:
            raise ValueError("tune.trials or tune.hours must be a number, or the study never ends; got null for both")
        return self
