"""Hyperparameter importances over architectures with different search spaces."""

import math

import optuna
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from genreflow.tuning.importance import MIN_TRIALS, importances

ARCHITECTURES = ("cnn_gru", "efficient", "tiny_cnn")
RATE = FloatDistribution(1e-5, 1e-1, log=True)


def make_trials(n: int) -> list[optuna.trial.FrozenTrial]:
    """Return trials whose value depends on the learning rate only."""
    shared = {"architecture": CategoricalDistribution(ARCHITECTURES), "train.batch_size": IntDistribution(8, 64)}
    trials = []
    for number in range(n):
        name = ARCHITECTURES[number % 3]
        key = f"{name}.learning_rate" + (".sgd" if number % 2 else "")
        rate = 10.0 ** -(1 + number * 7 % 40 / 10)
        trials.append(
            optuna.create_trial(
                value=0.9 - 0.1 * abs(math.log10(rate) + 3),
                params={
                    "architecture": name, key: rate, "train.batch_size": 8 + number * 11 % 50, f"{name}.own": 0.1
                },
                distributions={**shared, key: RATE, f"{name}.own": FloatDistribution(0, 1)},
            )
        )  # fmt: skip
    return trials


def test_learning_rates_of_all_architectures_and_optimisers_count_as_one():
    shares = importances(make_trials(40))
    assert next(iter(shares)) == "learning_rate"
    assert shares["learning_rate"] > 0.8
    assert set(shares) == {"learning_rate", "train.batch_size", "architecture"}
    assert sum(shares.values()) == pytest.approx(1)


def test_importances_need_enough_trials_that_differ():
    trials = make_trials(MIN_TRIALS)
    assert importances(trials)
    assert importances(trials[1:]) == {}
    assert importances([trials[0]] * 8) == {}
    diverged = optuna.create_trial(value=math.inf, params=trials[0].params, distributions=trials[0].distributions)
    assert importances([*trials[1:], diverged]) == {}
