"""Optimisers and learning-rate schedules, by their names in params.yaml."""

from collections.abc import Callable
from typing import Any

import keras

from genreflow.errors import ParameterError
from genreflow.training.options import FitOptions, Optimiser

OPTIMISERS: dict[Optimiser, Callable[..., keras.optimizers.Optimizer]] = {
    "sgd": keras.optimizers.SGD,
    "momentum": lambda rate, **kw: keras.optimizers.SGD(rate, momentum=0.9, nesterov=True, **kw),
    "adam": keras.optimizers.Adam,
    "adamw": keras.optimizers.AdamW,
    "rmsprop": keras.optimizers.RMSprop,
}
# Share of all updates in which the learning rate of the cosine schedule rises.
WARM_UP = 0.05


def make_optimiser(options: FitOptions, *, updates: int) -> keras.optimizers.Optimizer:
    """Make the optimiser of a fit, with its learning-rate schedule.

    Parameters
    ----------
    options : FitOptions
        With learning rate and optimiser, see `FitOptions.resolve`.
    updates : int > 0
        Of the whole fit.

    Raises
    ------
    ParameterError
        Learning rate or optimiser is missing.
    """
    if options.learning_rate is None or options.optimiser is None:
        raise ParameterError(
            "train.learning_rate and train.optimiser must be given for a model that is not in the registry; got "
            f"{options.learning_rate} and {options.optimiser}."
        )
    rate: Any = options.learning_rate
    if options.schedule == "cosine":
        warm_up = round(WARM_UP * updates)
        rate = keras.optimizers.schedules.CosineDecay(
            rate / 10, updates - warm_up, warmup_target=rate, warmup_steps=warm_up
        )
    elif options.schedule == "step":
        boundaries = [max(1, updates // 3), max(2, 2 * updates // 3)]
        rate = keras.optimizers.schedules.PiecewiseConstantDecay(boundaries, [rate, rate / 10, rate / 100])
    optimiser = OPTIMISERS[options.optimiser](rate, weight_decay=options.weight_decay)
    # Weight decay applies to kernels only, not to biases and the scale and offset of batch normalisation.
    optimiser.exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])
    return optimiser
