"""params.yaml as frozen, validated values; the unit and range of every knob stand here and nowhere else."""

from pathlib import Path
from typing import Annotated, Literal, Self, get_args

import yaml
from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag, ValidationError, model_validator

from genreflow.datasets.request import Component
from genreflow.errors import ParameterError
from genreflow.features.spec import FeatureSpec
from genreflow.models import MODELS, Choice, Dimension, Float, FrontEnd, Int, checked
from genreflow.training.options import FitOptions, Segmentation

PARAMS_FILE = Path("params.yaml")
# What a study may vary: not what makes trials incomparable, nor what it finds by itself.
NOT_SEARCHED = {"epochs", "segments_per_epoch", "learning_rate", "precision", "patience", "seed"}
SEARCHED = {
    "train": [name for name in FitOptions.model_fields if name not in NOT_SEARCHED],
    "segments": ["seconds", "coefficients"],
}
PositiveSize = Annotated[int, Field(ge=1, le=1024)]


class Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class DataParams(Section):
    source: str = Field(description="name of the source")
    path: Path = Field(description="the folder or file that the source reads")
    tracks: Path = Field(description="optional table of tracks: path, genre, group, split")
    genres: tuple[str, ...] = Field(default=(), description="a subset of the genres; empty takes all")
    subset: str | None = Field(default=None, description="of fma: small, medium, large or full; null: what is there")
    sources: tuple[Component, ...] = Field(default=(), description="of a combination, what it combines")


class AuditParams(Section):
    min_seconds: float = Field(default=1.0, ge=0, description="shorter tracks are left out [s]")
    silence_db: float = Field(default=-60.0, le=0, description="tracks that peak below are left out [dBFS]")
    clipped_share: float = Field(default=0.001, ge=0, le=1, description="more samples flat at full scale are noticed")
    near_duplicates: bool = Field(default=True, description="look for the same recording in other guise")


class SplitParams(Section):
    method: str = "group"
    valid: float = Field(default=0.2, ge=0.05, le=0.5, description="share of the tracks that chooses models")
    test: float = Field(default=0.2, ge=0.05, le=0.5, description="share of the tracks looked at once, at the end")
    folds: int = Field(default=5, ge=3, le=100, description="of kfold: one tests, the next one validates")
    fold: int = Field(default=0, ge=0, description="of kfold: the one that tests, from 0")
    seed: int = Field(default=1, ge=0)

    @model_validator(mode="after")
    def _leave_some_for_training(self) -> Self:
        if self.valid + self.test > 0.8:
            raise ValueError("split.valid + split.test must leave at least 0.2 of the tracks for training")
        if self.fold >= self.folds:
            raise ValueError(f"split.fold is {self.fold}, but split.folds {self.folds} are numbered from 0")
        return self


class SegmentParams(Section):
    seconds: float = Field(default=4.0, ge=0.5, le=60, description="length of a segment [s]")
    hop_seconds: float = Field(default=2.0, gt=0, le=60, description="from one segment's start to the next [s]")
    coefficients: int | None = Field(
        default=None, ge=0, le=512, description="cepstral, for the mel bands; 0: the bands; null: the architecture's"
    )
    image: tuple[PositiveSize, PositiveSize] | None = Field(
        default=None, description="time steps and bands that a segment is resized to; null: the architecture's"
    )

    @model_validator(mode="after")
    def _leave_no_gap(self) -> Self:
        if self.hop_seconds > self.seconds:
            raise ValueError("segments.hop_seconds must not exceed segments.seconds, or audio is left out between them")
        return self

    @property
    def segmentation(self) -> Segmentation:
        front = FrontEnd(image=self.image, coefficients=self.coefficients)
        return Segmentation(self.seconds, self.hop_seconds, front)


class Range(Section):
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


class TuneParams(Section):
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
                checked(name, values)
            except ParameterError as error:
                raise ValueError(f"tune.fixed: {str(error).removesuffix('.')}") from None
        if self.learning_rate and not 0 < self.learning_rate[0] <= self.learning_rate[1] <= 10:
            raise ValueError("tune.learning_rate is [low, high] with 0 < low <= high <= 10")
        if self.trials is None and self.hours is None:
            raise ValueError("tune.trials and tune.hours are both null; one of them must end the study")
        if self.objectives[0] != "track_accuracy" or len(set(self.objectives)) < len(self.objectives):
            raise ValueError("tune.objectives must begin with track_accuracy, and name each of the others once at most")
        return self


class GateParams(Section):
    min_probability: float = Field(default=0.8, ge=0.5, le=1, description="of being better than the champion")


class BundleParams(Section):
    abstain_below: float | None = Field(default=None, ge=0, le=1, description="null: from validation")


class ComputeParams(Section):
    """Where work is done; no result depends on it, so no stage of dvc.yaml lists it."""

    n_jobs: int = Field(default=-1, description="workers, as joblib counts: -1 is one a core")
    scheduler: str | None = Field(default=None, description="address of a Dask scheduler, such as tcp://host:8786")
    trial_workers: int = Field(default=1, ge=1, le=256, description="processes on this machine that run trials")
    storage: str | None = Field(default=None, description="Optuna's, as a URL; null: optuna.db in the project")

    @model_validator(mode="after")
    def _some_process(self) -> Self:
        if self.n_jobs == 0:
            raise ValueError("compute.n_jobs is 0; a number of workers, or -1 for one a core, is right")
        return self


class Params(Section):
    """The whole of params.yaml."""

    data: DataParams
    audit: AuditParams
    split: SplitParams
    features: FeatureSpec
    segments: SegmentParams
    tune: TuneParams
    train: FitOptions
    gate: GateParams
    bundle: BundleParams
    compute: ComputeParams = ComputeParams()

    @model_validator(mode="after")
    def _segments_fit(self) -> Self:
        if (self.segments.coefficients or 0) > self.features.n_mels:
            raise ValueError(
                f"segments.coefficients is {self.segments.coefficients}, but there are only features.n_mels = "
                f"{self.features.n_mels} bands to make them of"
            )
        for name in self.tune.architectures if self.segments.image else ():
            smallest = MODELS[name].smallest
            if any(given < least for given, least in zip(self.segments.image, smallest, strict=True)):
                raise ValueError(
                    f"segments.image is {list(self.segments.image)}, too small for {name} of tune.architectures, which "
                    f"needs at least {list(smallest)}"
                )
        for name in self.tune.search:
            self._knob(name)
        return self

    @property
    def knobs(self) -> dict[str, Dimension]:
        """What `tune.search` varies; the defaults are the values of `train` and `segments`."""
        return {name: self._knob(name) for name in self.tune.search}

    def _knob(self, name: str) -> Dimension:
        given = self.tune.search[name]
        section_name, _, knob = name.partition(".")
        if knob not in SEARCHED.get(section_name, ()):
            known = ", ".join(f"{section}.{field}" for section, fields in SEARCHED.items() for field in fields)
            raise ValueError(f"tune.search has {name!r}; what can be searched is {known}")
        section = getattr(self, section_name)
        for value in (given.low, given.high) if isinstance(given, Range) else given:
            beside = {"hop_seconds": 0.5} if section_name == "segments" else {}
            try:
                type(section).model_validate({**beside, knob: value})
            except ValidationError as error:
                raise ValueError(f"tune.search.{name} has {value!r}; {error.errors()[0]['msg'].lower()}") from None
        if isinstance(given, Range):
            default = min(max(getattr(section, knob) or given.low, given.low), given.high)
            if type(section).model_fields[knob].annotation is int:
                return Int(low=round(given.low), high=round(given.high), default=round(default), log=given.log)
            return Float(low=given.low, high=given.high, default=default, log=given.log)
        if not given:
            raise ValueError(f"tune.search.{name} is empty; a list of choices or {{low, high}} is right")
        default = getattr(section, knob)
        return Choice(values=tuple(given), default=default if default in given else given[0])


def load_params(path: Path = PARAMS_FILE) -> Params:
    """Read and check the parameters.

    Raises
    ------
    ParameterError
        The file is missing, is no YAML mapping, or holds an unknown, missing or out-of-range parameter; every one of
        them is named on a line of its own.
    """
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ParameterError(f"There is no {path} here; run genreflow in the folder that holds it.") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ParameterError(f"{path} is no readable YAML: {' '.join(str(error).split())}.") from None
    if not isinstance(content, dict):
        raise ParameterError(f"{path} must hold the sections {', '.join(Params.model_fields)}.")
    return parse_params(content, name=str(path))


def parse_params(content: dict, *, name: str = str(PARAMS_FILE)) -> Params:
    """Check parameters that were read already; see `load_params`."""
    try:
        return Params.model_validate(content)
    except ValidationError as error:
        raise ParameterError("\n".join(_sentence(fault, name) for fault in error.errors())) from None


def _sentence(fault: dict, name: str) -> str:
    where = ".".join(str(part) for part in fault["loc"] if part not in ("range", "choices"))
    if fault["type"] in ("extra_forbidden", "unexpected_keyword_argument"):
        return f"{name} has an unknown parameter {where}; {_known_beside(fault['loc'])}."
    if fault["type"] in ("missing", "missing_argument"):
        return f"{name} lacks the parameter {where}."
    if fault["type"] == "value_error":
        said = str(fault["ctx"]["error"])
        # Most name their parameter; a rule of what stands in several places cannot.
        return f"{name}: {said}." if not where or f"{fault['loc'][0]}." in said else f"{name}: {where}: {said}."
    message = fault["msg"].replace("Input should be", "it should be")
    return f"{name}: {where} is {fault['input']!r}; {message}."


def _known_beside(loc: tuple) -> str:
    if len(loc) == 1:
        return f"the sections are {', '.join(Params.model_fields)}"
    section = Params.model_fields[loc[0]].annotation
    for name in loc[1:-1]:  # data.sources.0: an element of the tuple
        section = get_args(section)[0] if isinstance(name, int) else section.model_fields[name].annotation
    fields = getattr(section, "model_fields", None) or getattr(section, "__dataclass_fields__", {})
    return f"{'.'.join(str(part) for part in loc[:-1])} has {', '.join(fields)}"
