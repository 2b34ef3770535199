"""Optimisers and learning-rate schedules by the names that params.yaml has for them."""

from collections.abc import Callable

import keras

from genreflow.training.options import FitOptions

OPTIMISERS: dict[str, Callable[..., keras.optimizers.Optimizer]] = {
    "sgd": keras.optimizers.SGD,
    "momentum": lambda rate, **kw: keras.optimizers.SGD(rate, momentum=0.9, nesterov=True, **kw),
    "adam": keras.optimizers.Adam,
    "adamw": keras.optimizers.AdamW,
    "rmsprop": keras.optimizers.RMSprop,
}
# Share of all updates over which the cosine schedule first rises.
WARM_UP = 0.05


def make_optimiser(options: FitOptions, *, updates: int) -> keras.optimizers.Optimizer:
    """The optimiser of a fit, its learning rate following the schedule.

    Parameters
    ----------
    options : FitOptions
        Nothing left open: `FitOptions.resolved`.
    updates : int > 0
        Of the whole fit.
    """
    rate = options.learning_rate
    if options.schedule == "cosine":
        warm_up = round(WARM_UP * updates)
        rate = keras.optimizers.schedules.CosineDecay(
            rate / 10, updates - warm_up, warmup_target=rate, warmup_steps=warm_up
        )
    elif options.schedule == "step":
        thirds = [max(1, updates // 3), max(2, 2 * updates // 3)]
        rate = keras.optimizers.schedules.PiecewiseConstantDecay(thirds, [rate, rate / 10, rate / 100])
    optimiser = OPTIMISERS[options.optimiser](rate, weight_decay=options.weight_decay)
    # Decay keeps kernels small; biases and the scales of batch normalisation are no part of that.
    optimiser.exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])
    return optimiser
