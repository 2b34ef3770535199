"""The search space of a study: architectures, their hyperparameters, and parameters of `train` and `segments`.

It does not import Optuna: params.yaml is validated with it by commands that must start fast.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Self

from pydantic import BaseModel, ValidationError, create_model

from genreflow.constraints import expected
from genreflow.errors import ParameterError
from genreflow.models import MODELS, Architecture, Choice, Dimension, Float, Int
from genreflow.training.options import SPECTROGRAM_AUGMENTATION, FitOptions
from genreflow.training.params import SegmentParams
from genreflow.tuning.params import Range, TuneParams

# Prefixes of dimensions: the section of params.yaml that a parameter belongs to.
TRAIN, SEGMENTS = "train.", "segments."
# Parameters of `train` that cannot be searched: they would make trials incomparable, or the study sets them itself.
NOT_SEARCHABLE = {
    "epochs",
    "segments_per_epoch",
    "learning_rate",
    "precision",
    "patience",
    "seed",
}
SEARCHABLE: dict[str, type[BaseModel]] = {
    **{f"{TRAIN}{name}": FitOptions for name in FitOptions.model_fields if name not in NOT_SEARCHABLE},
    f"{SEGMENTS}seconds": SegmentParams,
    f"{SEGMENTS}coefficients": SegmentParams,
}
# Of what the storage holds of a study: one that an earlier version began is not continued.
_VERSION = 2


@dataclass(frozen=True)
class SearchSpace:
    """What trials vary.

    Parameters
    ----------
    architectures : sequence of str
        Keys of `genreflow.models.MODELS`.
    learning_rate : (float, float) or None
        Range that replaces the one of each architecture.
    fixed : mapping of str to mapping
        Hyperparameters that are set instead of searched, by architecture: ``{"resnet50": {"weights": "file"}}``.
    dimensions : mapping of str to Dimension
        What else is searched, a subset of `SEARCHABLE`, such as ``train.mixup``.
    """

    architectures: Sequence[str]
    learning_rate: tuple[float, float] | None
    fixed: Mapping[str, Mapping[str, object]]
    dimensions: Mapping[str, Dimension]

    @classmethod
    def from_params(
        cls, tune: TuneParams, train: FitOptions, segments: SegmentParams, architectures: Sequence[str]
    ) -> Self:
        """Combine the sections of params.yaml with the architectures that are searched.

        Raises
        ------
        ParameterError
            As `searched_dimensions`.
        """
        dimensions = searched_dimensions(tune, train, segments)
        return cls(architectures, tune.learning_rate, tune.fixed, dimensions)

    def dimensions_of(self, architecture: Architecture) -> dict[str, Dimension]:
        """Return those of `dimensions` that have an effect on an architecture.

        Segments of embeddings have the length that the embedder takes, and their spectrograms are not augmented.
        """
        if not architecture.embedding:
            return dict(self.dimensions)
        without = {f"{TRAIN}{name}" for name in SPECTROGRAM_AUGMENTATION}
        return {
            name: dimension
            for name, dimension in self.dimensions.items()
            if name not in without and not name.startswith(SEGMENTS)
        }

    @property
    def hash(self) -> str:
        """Ten hex digits. Trials of two studies with equal hashes have the same parameters and ranges."""
        rows = [MODELS[name] for name in self.architectures]
        spaces = {row.name: repr([row.learning_rate, sorted(row.space.items())]) for row in rows}
        ranges = {name: {**asdict(dimension), "default": None} for name, dimension in self.dimensions.items()}
        return short_hash(spaces, self.learning_rate, self.fixed, ranges)


@dataclass(frozen=True)
class Configuration:
    """A point of the search space.

    Parameters
    ----------
    architecture : str
    hyperparameters : dict
        Keyword arguments of `genreflow.models.build_model`.
    learning_rate : float
    train : dict
        Searched fields of `FitOptions`.
    segments : dict
        ``seconds`` and ``coefficients``, if they are searched.
    """

    architecture: str
    hyperparameters: dict
    learning_rate: float
    train: dict = field(default_factory=dict)
    segments: dict = field(default_factory=dict)

    @property
    def mlflow_params(self) -> dict[str, object]:
        """The configuration as MLflow parameters; only hyperparameters carry the architecture in their names."""
        hyperparameters = {f"{self.architecture}.{name}": value for name, value in self.hyperparameters.items()}
        segments = {f"segment_{name}": value for name, value in self.segments.items()}
        return {
            "architecture": self.architecture,
            "learning_rate": self.learning_rate,
            **self.train,
            **segments,
            **hyperparameters,
        }

    def to_dict(self) -> dict:
        return asdict(self)


def searched_dimensions(tune: TuneParams, train: FitOptions, segments: SegmentParams) -> dict[str, Dimension]:
    """Return the dimensions that ``tune.search`` names; their defaults are the values of `train` and `segments`.

    Raises
    ------
    ParameterError
        ``tune.search`` names a parameter that cannot be searched, or a value out of the parameter's range.
    """
    sections: dict[str, BaseModel] = {TRAIN: train, SEGMENTS: segments}
    dimensions: dict[str, Dimension] = {}
    for name, given in tune.search.items():
        if name not in SEARCHABLE:
            raise ParameterError(f"tune.search must name parameters of {', '.join(SEARCHABLE)}; got {name}.")
        section, _, parameter = name.rpartition(".")
        current = getattr(sections[f"{section}."], parameter)
        _check_values(name, given)
        dimensions[name] = _range(name, given, current) if isinstance(given, Range) else _choice(given, current)
    return dimensions


def _check_values(name: str, given: Range | list) -> None:
    model, parameter = SEARCHABLE[name], name.rpartition(".")[2]
    if given == []:
        raise ParameterError(f"tune.search.{name} must be a list of choices, or {{low, high, log}}; got [].")
    info = model.model_fields[parameter]
    definition: dict[str, Any] = {parameter: (info.annotation, info)}
    alone = create_model(model.__name__, **definition)  # without the rules that relate it to other fields
    for value in (given.low, given.high) if isinstance(given, Range) else given:
        try:
            # The limits of a range are floats, also of an integer.
            alone.model_validate_json(json.dumps({parameter: value}), strict=not isinstance(given, Range))
        except ValidationError:
            schema = model.model_json_schema()
            wanted = expected(schema["properties"][parameter], schema.get("$defs", {}))
            raise ParameterError(f"tune.search.{name} must be {wanted}; got {json.dumps(value)}.") from None


def _range(name: str, given: Range, current: float | None) -> Float | Int:
    default = given.low if current is None else min(max(current, given.low), given.high)
    if SEARCHABLE[name].model_fields[name.rpartition(".")[2]].annotation is int:
        return Int(low=round(given.low), high=round(given.high), default=round(default), log=given.log)
    return Float(low=given.low, high=given.high, default=default, log=given.log)


def _choice(given: list, current: object) -> Choice:
    return Choice(values=tuple(given), default=current if current in given else given[0])


def study_name(space: SearchSpace, tune: TuneParams, *parts: object) -> str:
    """Return a name that is unique to a search space and its data, so that a study never mixes incomparable trials.

    Parameters
    ----------
    space : SearchSpace
    tune : TuneParams
        ``trials``, ``hours`` and ``seed`` do not enter: with other values the same study continues.
    parts : JSON-ready
        Hashes of manifest, split and features, fit options and the like.

    Returns
    -------
    name : str
        Such as ``"genre-1f2e3d4c5b"``.
    """
    return f"genre-{short_hash(_VERSION, space.hash, tune.epochs, tune.startup_trials, tune.warmup_epochs, *parts)}"


def short_hash(*parts: object) -> str:
    """Return ten hex digits of anything JSON-ready."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()[:10]
