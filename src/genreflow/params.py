"""params.yaml as a frozen, validated model, composed of the parameter models that the packages own."""

from pathlib import Path
from typing import Self

import yaml
from pydantic import Field, ValidationError, field_validator, model_validator

from genreflow.audit.params import AuditParams
from genreflow.constraints import messages
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
    """Where computations run. No result depends on it, so no stage of dvc.yaml lists this section."""

    n_jobs: int = Field(default=-1, description="parallel workers of ingest, featurize and audit; -1: one per core")
    scheduler: str | None = Field(
        default=None, description="address of a Dask scheduler for featurize; null: this machine's cores"
    )
    trial_workers: int = Field(default=1, ge=1, le=256, description="processes on this machine that run trials")
    storage: str | None = Field(
        default=None, description="URL of Optuna's storage; null: GENREFLOW_STORAGE, or optuna.db in the project"
    )

    @field_validator("n_jobs")
    @classmethod
    def _not_zero(cls, value: int) -> int:
        if value == 0:
            raise ValueError("must be >= 1, or -1 for one worker per core; got 0")
        return value


class Params(FrozenModel):
    """All parameters; a field per section of params.yaml."""

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
    def _coefficients_fit_the_bands(self) -> Self:
        coefficients, bands = self.segments.coefficients, self.features.n_mels
        if coefficients is not None and coefficients > bands:
            raise ValueError(f"segments.coefficients must be <= features.n_mels ({bands}); got {coefficients}")
        return self

    @model_validator(mode="after")
    def _image_fits_the_architectures(self) -> Self:
        image = self.segments.image
        if image is None:
            return self
        for name in self.tune.architectures:
            min_image = MODELS[name].min_image
            if image[0] < min_image[0] or image[1] < min_image[1]:
                raise ValueError(
                    f"segments.image must be at least {list(min_image)} for {name} of tune.architectures; got "
                    f"{list(image)}"
                )
        return self

    @model_validator(mode="after")
    def _searched_parameters_exist(self) -> Self:
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
    """Read and validate the parameters.

    Parameters
    ----------
    path : Path
        A YAML file.

    Raises
    ------
    ParameterError
        The file is missing, is not a YAML mapping, or holds an unknown, missing or invalid parameter; each fault is
        reported on a line of its own.
    """
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ParameterError(f"{path} does not exist; run genreflow in the project folder that holds it.") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ParameterError(f"{path} must be valid YAML; got {' '.join(str(error).split())}.") from None
    if not isinstance(content, dict):
        sections = ", ".join(Params.model_fields)
        raise ParameterError(f"{path} must be a mapping with the sections {sections}; got {_yaml_type(content)}.")
    return parse_params(content, source=str(path))


def parse_params(content: dict, *, source: str = str(PARAMS_FILE)) -> Params:
    """Validate parameters that were read already.

    Parameters
    ----------
    content : dict
        The sections of params.yaml.
    source : str
        The file to name in error messages.

    Raises
    ------
    ParameterError
        As `load_params`.
    """
    try:
        return Params.model_validate(content)
    except ValidationError as error:
        raise ParameterError("\n".join(messages(error, Params, source=source))) from None
    except ParameterError as error:  # of a section that is a dataclass with checks of its own
        raise ParameterError(f"{source}: {error}") from None


def _yaml_type(content: object) -> str:
    return "nothing" if content is None else f"a {type(content).__name__}"
