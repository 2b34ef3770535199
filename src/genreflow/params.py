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
from genreflow.models import MODELS
from genreflow.registry.params import GateParams
from genreflow.splits.params import SplitParams
from genreflow.training.options import FitOptions
from genreflow.training.params import SegmentParams
from genreflow.tuning.params import TuneParams
from genreflow.tuning.search_space import searched_dimensions

PARAMS_FILE = Path("params.yaml")


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
        try:
            searched_dimensions(self.tune, self.train, self.segments)
        except ParameterError as error:
            raise ValueError(str(error)) from None
        return self


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


def _yaml_type(content: object) -> str:
    return "nothing" if content is None else f"a {type(content).__name__}"
