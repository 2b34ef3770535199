"""The configurations of trials: sampled by Optuna, or published."""

from collections.abc import Callable, Mapping

import optuna

from genreflow.errors import ParameterError
from genreflow.models import MODELS, Architecture, Choice, Dimension, File, Float, Int
from genreflow.training.options import FitOptions
from genreflow.tuning.params import MAX_LEARNING_RATE
from genreflow.tuning.search_space import SEGMENTS, TRAIN, Configuration, SearchSpace

# Plain gradient descent needs higher learning rates than methods that divide by the gradient's magnitude. The factors
# are rules of thumb.
LEARNING_RATE_SCALE = {"adam": 1, "adamw": 1, "rmsprop": 1, "momentum": 20, "sgd": 100}


def suggest(trial: optuna.Trial, space: SearchSpace) -> Configuration:
    """Sample the configuration of a trial.

    Parameters
    ----------
    trial : optuna.Trial
        Its parameters of one architecture have the prefix of that architecture (``cnn_gru.dropout``), as each has a
        space of its own.
    space : SearchSpace
    """
    name = trial.suggest_categorical("architecture", list(space.architectures))
    row = MODELS[name]
    values = {key: _suggest(trial, key, dimension) for key, dimension in space.dimensions_of(row).items()}
    train, segments = _of_section(values, TRAIN), _of_section(values, SEGMENTS)
    optimiser = str(train.get("optimiser") or row.optimiser)
    parameter, low, high = _learning_rate_range(row, space, optimiser)
    learning_rate = trial.suggest_float(parameter, low, high, log=True)
    hyperparameters = {
        key: _suggest(trial, f"{name}.{key}", dimension) for key, dimension in _searched(row, space).items()
    }
    return Configuration(name, {**hyperparameters, **space.fixed.get(name, {})}, learning_rate, train, segments)


def published_parameters(name: str, space: SearchSpace) -> dict[str, object]:
    """Return the parameters of the first trial of an architecture: what its authors chose, as far as it is searched.

    A parameter that they did not state, or set to a value outside the range, has the value of ``params.yaml``.

    Parameters
    ----------
    name : str
        Of the architecture.
    space : SearchSpace

    Returns
    -------
    parameters : dict of str to any
        By Optuna's parameter name, for ``study.enqueue_trial``.
    """
    row = MODELS[name]
    stated = row.protocol.options
    options = FitOptions.unregularised(**stated).model_dump() if row.published else stated
    values = {}
    for key, dimension in space.dimensions_of(row).items():
        published = options.get(key.removeprefix(TRAIN), dimension.default)  # names of `segments` are none of these
        values[key] = published if _contains(dimension, published) else dimension.default
    optimiser = str(values.get(f"{TRAIN}optimiser") or row.optimiser)
    parameter, low, high = _learning_rate_range(row, space, optimiser)
    learning_rate = min(max(row.learning_rate.default * _scale(row, optimiser), low), high)
    hyperparameters = {f"{name}.{key}": dimension.default for key, dimension in _searched(row, space).items()}
    return {"architecture": name, parameter: learning_rate, **values, **hyperparameters}


def _learning_rate_range(row: Architecture, space: SearchSpace, optimiser: str) -> tuple[str, float, float]:
    """Return Optuna's name of the learning rate, and its range, which depends on the optimiser."""
    name, scale = f"{row.name}.learning_rate", _scale(row, optimiser)
    if space.learning_rate is not None:
        return name, *space.learning_rate
    # Another range needs another name: Optuna compares trials by name.
    name = name if scale == 1 else f"{name}.{optimiser}"
    return name, row.learning_rate.low * scale, min(row.learning_rate.high * scale, MAX_LEARNING_RATE)


def _scale(row: Architecture, optimiser: str) -> float:
    return LEARNING_RATE_SCALE[optimiser] / LEARNING_RATE_SCALE[row.optimiser]


def _of_section(values: Mapping[str, object], prefix: str) -> dict[str, object]:
    return {name.removeprefix(prefix): value for name, value in values.items() if name.startswith(prefix)}


def _searched(architecture: Architecture, space: SearchSpace) -> dict[str, Dimension]:
    fixed = space.fixed.get(architecture.name, {})
    return {
        name: dimension
        for name, dimension in architecture.space.items()
        if name not in fixed and not isinstance(dimension, File)
    }


def _contains(dimension: Dimension, value: object) -> bool:
    try:
        dimension.check("", value)
    except ParameterError:
        return False
    return True


def _suggest(trial: optuna.Trial, name: str, dimension: Dimension) -> object:
    return _SUGGEST[type(dimension)](trial, name, dimension)


_SUGGEST: Mapping[type, Callable] = {
    Float: lambda trial, name, given: trial.suggest_float(name, given.low, given.high, log=given.log),
    Int: lambda trial, name, given: trial.suggest_int(name, given.low, given.high, log=given.log),
    Choice: lambda trial, name, given: trial.suggest_categorical(name, list(given.values)),
}
