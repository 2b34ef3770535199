"""What a study searches: architectures, each with a space of its own, and the learning rate."""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field

import optuna

from genreflow.errors import ParameterError
from genreflow.models import MODELS, Architecture, Choice, Dimension, File, Float, Int, checked


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
    trials : int > 0
        Trials of the study, those of interrupted runs included.
    epochs : int > 0
        Epochs of a trial at most.
    startup_trials, warmup_epochs : int >= 0
        Trials that finish, and epochs of each trial, before any is pruned.
    timeout : float > 0 or None [s]
    seed : int >= 0
    """

    architectures: Sequence[str]
    learning_rate: tuple[float, float] | None = None
    fixed: Mapping[str, Mapping[str, object]] = field(default_factory=dict)
    trials: int = 8
    epochs: int = 10
    startup_trials: int = 3
    warmup_epochs: int = 3
    timeout: float | None = None
    seed: int = 1

    def __post_init__(self) -> None:
        for name in self.architectures:
            if name not in MODELS:
                raise ParameterError(f"tune.architectures names {name!r}; there are {', '.join(sorted(MODELS))}.")
        for name, values in self.fixed.items():
            checked(name, values)


@dataclass(frozen=True)
class BestTrial:
    """The configuration that a study found.

    Parameters
    ----------
    number : int
    architecture : str
    hyperparameters : dict
        Of the architecture, passed to `genreflow.models.build_model`.
    learning_rate : float
    value : float in [0, 1]
        Track accuracy on validation.
    epochs : int
        Epochs until it was reached.
    """

    number: int
    architecture: str
    hyperparameters: dict
    learning_rate: float
    value: float
    epochs: int

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
    rows = [MODELS[name] for name in search.architectures]
    spaces = {row.name: repr([row.learning_rate, sorted(row.space.items())]) for row in rows}
    content = [spaces, search.learning_rate, search.epochs, search.startup_trials, search.warmup_epochs, *parts]
    if search.fixed:
        content.append(search.fixed)
    return f"genre-{hashlib.sha256(json.dumps(content, sort_keys=True, default=str).encode()).hexdigest()[:10]}"


def suggest(trial: optuna.Trial, search: Search) -> tuple[str, float, dict]:
    """Architecture, learning rate and the architecture's own hyperparameters of a trial.

    Names carry the architecture (``cnn_gru.dropout``), since each has a space of its own.
    """
    name = trial.suggest_categorical("architecture", list(search.architectures))
    architecture = MODELS[name]
    low, high = search.learning_rate or (architecture.learning_rate.low, architecture.learning_rate.high)
    learning_rate = trial.suggest_float(f"{name}.learning_rate", low, high, log=True)
    own = {
        knob: _SUGGEST[type(domain)](trial, f"{name}.{knob}", domain)
        for knob, domain in _searched(architecture, search).items()
    }
    return name, learning_rate, {**own, **search.fixed.get(name, {})}


def _searched(architecture: Architecture, search: Search) -> dict[str, Dimension]:
    given = search.fixed.get(architecture.name, {})
    return {knob: d for knob, d in architecture.space.items() if knob not in given and not isinstance(d, File)}


_SUGGEST: Mapping[type, Callable] = {
    Float: lambda trial, name, domain: trial.suggest_float(name, domain.low, domain.high, log=domain.log),
    Int: lambda trial, name, domain: trial.suggest_int(name, domain.low, domain.high, log=domain.log),
    Choice: lambda trial, name, domain: trial.suggest_categorical(name, list(domain.values)),
}


def defaults(name: str, search: Search) -> dict:
    """The parameters of the trial an architecture starts with: the values its author would choose."""
    architecture = MODELS[name]
    own = {f"{name}.{knob}": domain.default for knob, domain in _searched(architecture, search).items()}
    low, high = search.learning_rate or (0.0, float("inf"))
    return {
        "architecture": name,
        f"{name}.learning_rate": min(max(architecture.learning_rate.default, low), high),
        **own,
    }
