"""params.yaml as frozen, validated values; the unit and range of every knob stand here and nowhere else."""

from pathlib import Path
from typing import Self, get_args

import yaml
from pydantic import Field, ValidationError, model_validator

from genreflow.audit.params import AuditParams
from genreflow.datasets.params import DataParams
from genreflow.errors import ParameterError
from genreflow.export.params import BundleParams
from genreflow.features.spec import FeatureSpec
from genreflow.frozen import FrozenModel
from genreflow.models import MODELS, Choice, Dimension, Float, Int
from genreflow.registry.params import GateParams
from genreflow.splits.params import SplitParams
from genreflow.training.options import FitOptions
from genreflow.training.params import SegmentParams
from genreflow.tuning.params import Range, TuneParams

PARAMS_FILE = Path("params.yaml")
# What a study may vary: not what makes trials incomparable, nor what it finds by itself.
NOT_SEARCHED = {"epochs", "segments_per_epoch", "learning_rate", "precision", "patience", "seed"}
SEARCHED = {
    "train": [name for name in FitOptions.model_fields if name not in NOT_SEARCHED],
    "segments": ["seconds", "coefficients"],
}


class ComputeParams(FrozenModel):
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


class Params(FrozenModel):
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
