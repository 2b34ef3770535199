"""params.yaml as a frozen, validated model, composed of the parameter models that the packages own."""

import json
from pathlib import Path
from typing import Self

from pydantic import Field, ValidationError, field_validator, model_validator

from genreflow.audit.params import AuditParams
from genreflow.constraints import messages
from genreflow.datasets.params import DataParams
from genreflow.embedding.params import EmbeddingParams
from genreflow.errors import ParameterError
from genreflow.export.params import BundleParams
from genreflow.features.params import FeatureParams
from genreflow.features.spec import FeatureSpec
from genreflow.frozen import FrozenModel
from genreflow.models import MODELS
from genreflow.models.default_architectures import default_spec, searched_architectures
from genreflow.registry.params import GateParams
from genreflow.reporting.params import ReportParams
from genreflow.splits.params import SplitParams
from genreflow.training.options import FitOptions
from genreflow.training.params import SegmentParams
from genreflow.tuning.params import TuneParams, check_storage_url
from genreflow.tuning.search_space import searched_dimensions
from genreflow.yaml_files import MAX_CHARACTERS, parse_yaml

PARAMS_FILE = Path("params.yaml")


class ComputeParams(FrozenModel):
    """Where computations run. No result depends on it, so no stage of dvc.yaml lists this section."""

    n_jobs: int = Field(default=-1, description="parallel workers of ingest, featurize and audit; -1: one per core")
    scheduler: str | None = Field(
        default=None, description="address of a Dask scheduler for featurize; null: this machine's cores"
    )
    kept_features_gb: float = Field(
        default=10.0,
        ge=0,
        description="features of other collections and specs that are kept, the oldest are removed first; 0: none [GB]",
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

    @field_validator("storage")
    @classmethod
    def _storage_is_supported(cls, value: str | None) -> str | None:
        if value:
            check_storage_url(value)
        return value


class Params(FrozenModel):
    """All parameters; a field per section of params.yaml."""

    data: DataParams
    audit: AuditParams
    split: SplitParams
    features: FeatureParams
    segments: SegmentParams
    embedding: EmbeddingParams = EmbeddingParams()
    tune: TuneParams
    train: FitOptions
    gate: GateParams
    bundle: BundleParams
    report: ReportParams = ReportParams()
    compute: ComputeParams = ComputeParams()

    @property
    def architectures(self) -> tuple[str, ...]:
        """The architectures that the study searches."""
        return searched_architectures(
            self.tune.architectures, source=self.data.source, own_embedder=self.embedding.file is not None
        )

    @property
    def feature_spec(self) -> FeatureSpec:
        """The feature spec, but for what imported spectrograms have.

        Raises
        ------
        ParameterError
            Its values do not match each other.
        """
        return self.features.resolve(default_spec(self.architectures, source=self.data.source))

    @model_validator(mode="after")
    def _features_match(self) -> Self:
        try:
            _ = self.feature_spec
        except ParameterError as error:
            raise ValueError(str(error).removesuffix(".")) from None
        return self

    @model_validator(mode="after")
    def _coefficients_fit_the_bands(self) -> Self:
        coefficients, bands = self.segments.coefficients, self.feature_spec.n_mels
        if coefficients is not None and coefficients > bands:
            raise ValueError(f"segments.coefficients must be <= features.n_mels ({bands}); got {coefficients}")
        return self

    @model_validator(mode="after")
    def _fixed_architectures_are_searched(self) -> Self:
        if others := set(self.tune.fixed) - set(self.architectures):
            known = ", ".join(self.architectures)
            raise ValueError(f"tune.fixed must name architectures of tune.architectures ({known}); got {min(others)}")
        return self

    @model_validator(mode="after")
    def _image_fits_the_architectures(self) -> Self:
        image = self.segments.image
        if image is None:
            return self
        for name in self.architectures:
            min_image = MODELS[name].min_image
            if image[0] < min_image[0] or image[1] < min_image[1]:
                raise ValueError(
                    f"segments.image must be at least {list(min_image)} for {name} of tune.architectures; got "
                    f"{list(image)}"
                )
        return self

    @model_validator(mode="after")
    def _embedder_is_given(self) -> Self:
        named, file = self.tune.architectures or (), self.embedding.file
        if "embedder" in named and file is None:
            raise ValueError("embedding.file must be a network for embedder of tune.architectures; got null")
        if "musicnn" in named and file is not None:
            raise ValueError(f"embedding.file must be null for musicnn of tune.architectures; got {file}")
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
    return parse_params(parse_sections(read_params_text(path), path), source=str(path))


def read_params_text(path: Path = PARAMS_FILE) -> str:
    """Return the text of params.yaml, with its line ends; exceptions are those of `load_params`."""
    try:
        if path.exists() and not path.is_file():  # reading a named pipe would wait for ever
            raise ParameterError(f"{path} must be a file; got {'a folder' if path.is_dir() else 'a special file'}.")
        with path.open(encoding="utf-8", newline="") as file:
            return file.read(MAX_CHARACTERS + 1)
    except FileNotFoundError:
        raise ParameterError(f"{path} does not exist; run genreflow in the project folder that holds it.") from None
    except OSError as error:
        raise ParameterError(f"{path} must be readable; got {error.strerror or error}.") from None
    except UnicodeDecodeError as error:
        raise ParameterError(f"{path} must be valid YAML in UTF-8; got {error}.") from None


def parse_sections(text: str, path: Path = PARAMS_FILE) -> dict:
    """Return the sections of the text of params.yaml, not validated; ParameterError if it is no YAML mapping."""
    try:
        content = parse_yaml(text)
    except ValueError as error:
        raise ParameterError(f"{path} must be valid YAML; got {error}.") from None
    if not isinstance(content, dict):
        sections = ", ".join(Params.model_fields)
        raise ParameterError(f"{path} must be a mapping with the sections {sections}; got {yaml_type(content)}.")
    return content


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
        Params.model_validate(content)
        # Once more as JSON, which pydantic can validate strictly: there `true` is no number, and neither is "3".
        return Params.model_validate_json(json.dumps(content), strict=True)
    except ValidationError as error:
        raise ParameterError("\n".join(messages(error, Params, source=source))) from None


def yaml_type(content: object) -> str:
    """Name the type of a value of a YAML file, for an error message."""
    return "nothing" if content is None else f"a {type(content).__name__}"
