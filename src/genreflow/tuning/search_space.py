"""What a study searches: architectures, each with a space of its own, and the knobs of training and segments."""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace

import optuna

from genreflow.errors import ParameterError
from genreflow.models import MODELS, Architecture, Choice, Dimension, File, Float, Int, validate_hyperparameters
from genreflow.training.options import FitOptions

# What stands before a knob's name, and in params.yaml for its section.
TRAIN, SEGMENTS = "train.", "segments."
# Learning rates of plain gradient descent are larger than those of methods that divide by the gradient's size.
RATE_OF = {"adam": 1, "adamw": 1, "rmsprop": 1, "momentum": 20, "sgd": 100}


@dataclass(frozen=True, kw_only=True)
class Search:
    """What a study searches, and for how long.

    Parameters
    ----------
    architectures : sequence of str
        Names from `genreflow.models.MODELS`.
    learning_rate : (float, float) or None
        Range instead of the one that each architecture comes with.
    fixed : mapping of str to mapping
        Hyperparameters that are given instead of searched, by architecture: ``{"resnet50": {"weights": "file"}}``.
    knobs : mapping of str to Dimension
        What else is searched: fields of `FitOptions` (``train.mixup``), ``segments.seconds`` and
        ``segments.coefficients``.
    trials : int > 0 or None
        Trials of the study, those of interrupted runs included; None: as many as fit into `hours`.
    hours : float > 0 or None [h]
        Of work on the study, by however many workers and in however many runs; None: until `trials` are done.
    epochs : int > 0
        Epochs of a trial at most.
    startup_trials, warmup_epochs : int >= 0
        Trials that finish, and epochs of each trial, before any is pruned.
    seed : int >= 0
    """

    architectures: Sequence[str]
    learning_rate: tuple[float, float] | None = None
    fixed: Mapping[str, Mapping[str, object]] = field(default_factory=dict)
    knobs: Mapping[str, Dimension] = field(default_factory=dict)
    trials: int | None = 8
    hours: float | None = None
    epochs: int = 10
    startup_trials: int = 3
    warmup_epochs: int = 3
    seed: int = 1

    def __post_init__(self) -> None:
        for name in self.architectures:
            if name not in MODELS:
                raise ParameterError(f"tune.architectures names {name!r}; there are {', '.join(sorted(MODELS))}.")
        for name, values in self.fixed.items():
            validate_hyperparameters(name, values)
        if self.trials is None and self.hours is None:
            raise ParameterError("A study needs tune.trials or tune.hours, or it would never end.")

    @property
    def space(self) -> str:
        """A hash of what is searched; of two studies with the same, one may start from the other's best trials."""
        rows = [MODELS[name] for name in self.architectures]
        spaces = {row.name: repr([row.learning_rate, sorted(row.space.items())]) for row in rows}
        ranges = {name: repr(replace(knob, default=None)) for name, knob in self.knobs.items()}
        return short_hash(spaces, self.learning_rate, self.fixed, ranges)


@dataclass(frozen=True)
class Configuration:
    """A point of the search space.

    Parameters
    ----------
    architecture : str
    hyperparameters : dict
        Of the architecture, passed to `genreflow.models.build_model`.
    learning_rate : float
    train : dict
        Fields of `FitOptions` that the study chose.
    segments : dict
        ``seconds`` and ``coefficients``, where the study chose them.
    """

    architecture: str
    hyperparameters: dict
    learning_rate: float
    train: dict = field(default_factory=dict)
    segments: dict = field(default_factory=dict)

    @property
    def flat(self) -> dict[str, object]:
        """As MLflow's parameters: under names that trials of different architectures share."""
        own = {f"{self.architecture}.{name}": value for name, value in self.hyperparameters.items()}
        segments = {f"segment_{name}": value for name, value in self.segments.items()}
        return {
            "architecture": self.architecture,
            "learning_rate": self.learning_rate,
            **self.train,
            **segments,
            **own,
        }

    def to_dict(self) -> dict:
        return asdict(self)


def study_name(search: Search, *parts: object) -> str:
    """Name a study after what it searches and on which data, so that trials never mix.

    Parameters
    ----------
    search : Search
        The number of trials, the time and the seed are left out: more of them continue the same study.
    parts : JSON-ready
        Hashes of manifest, split and features, fit options and the like.

    Returns
    -------
    name : str
    """
    return f"genre-{short_hash(search.space, search.epochs, search.startup_trials, search.warmup_epochs, *parts)}"


def short_hash(*parts: object) -> str:
    """Ten hexadecimal digits of anything JSON-ready."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()[:10]


def suggest(trial: optuna.Trial, search: Search) -> Configuration:
    """The configuration of a trial.

    Names carry the architecture (``cnn_gru.dropout``), since each has a space of its own.
    """
    name = trial.suggest_categorical("architecture", list(search.architectures))
    row = MODELS[name]
    knobs = {knob: _suggest(trial, knob, domain) for knob, domain in search.knobs.items()}
    train, segments = _of(knobs, TRAIN), _of(knobs, SEGMENTS)
    rate, (low, high) = _learning_rate(row, search, train.get("optimiser") or row.optimiser)
    learning_rate = trial.suggest_float(rate, low, high, log=True)
    own = {knob: _suggest(trial, f"{name}.{knob}", domain) for knob, domain in _searched(row, search).items()}
    return Configuration(name, {**own, **search.fixed.get(name, {})}, learning_rate, train, segments)


def known_good(name: str, search: Search) -> dict:
    """The parameters of the trial that an architecture starts with: what its authors chose, as far as it is searched.

    A knob that they left at a value out of its range, or did not state, stands as in ``params.yaml``.
    """
    row = MODELS[name]
    stated = row.protocol.options
    options = FitOptions.unregularised(**stated).model_dump() if row.published else stated
    knobs = {}
    for knob, domain in search.knobs.items():
        published = options.get(knob.removeprefix(TRAIN), domain.default) if knob.startswith(TRAIN) else domain.default
        knobs[knob] = published if _holds(domain, published) else domain.default
    optimiser = knobs.get(f"{TRAIN}optimiser") or row.optimiser
    rate, (low, high) = _learning_rate(row, search, optimiser)
    default = row.learning_rate.default * _scale(row, optimiser)
    own = {f"{name}.{knob}": domain.default for knob, domain in _searched(row, search).items()}
    return {"architecture": name, rate: min(max(default, low), high), **knobs, **own}


def _learning_rate(row: Architecture, search: Search, optimiser: str) -> tuple[str, tuple[float, float]]:
    """Name and range; an optimiser of another kind than the architecture's own has a range of its own."""
    scale = _scale(row, optimiser)
    low, high = search.learning_rate or (row.learning_rate.low * scale, min(row.learning_rate.high * scale, 10.0))
    own = f"{row.name}.learning_rate"
    return (own if scale == 1 or search.learning_rate else f"{own}.{optimiser}"), (low, high)


def _scale(row: Architecture, optimiser: str) -> float:
    return RATE_OF[optimiser] / RATE_OF[row.optimiser]


def _of(knobs: Mapping[str, object], section: str) -> dict[str, object]:
    return {name.removeprefix(section): value for name, value in knobs.items() if name.startswith(section)}


def _searched(architecture: Architecture, search: Search) -> dict[str, Dimension]:
    given = search.fixed.get(architecture.name, {})
    return {knob: d for knob, d in architecture.space.items() if knob not in given and not isinstance(d, File)}


def _holds(domain: Dimension, value: object) -> bool:
    try:
        domain.check("", value)
    except ParameterError:
        return False
    return True


def _suggest(trial: optuna.Trial, name: str, domain: Dimension) -> object:
    return _SUGGEST[type(domain)](trial, name, domain)


_SUGGEST: Mapping[type, Callable] = {
    Float: lambda trial, name, domain: trial.suggest_float(name, domain.low, domain.high, log=domain.log),
    Int: lambda trial, name, domain: trial.suggest_int(name, domain.low, domain.high, log=domain.log),
    Choice: lambda trial, name, domain: trial.suggest_categorical(name, list(domain.values)),
}
