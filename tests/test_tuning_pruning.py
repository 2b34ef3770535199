"""Pruning compares expected final accuracies, so that architectures of different learning speed can be compared."""

import optuna
import pytest

from genreflow.tuning.pruning import pruning_reason

FAST = ("fast", [0.55, 0.58, 0.60, 0.60])
SLOW = ("slow", [0.10, 0.20, 0.50, 0.80])


def reason(architecture, curve, completed, startup_trials=0, warmup_epochs=0):
    return pruning_reason(
        architecture, curve, completed, startup_trials=startup_trials, warmup_epochs=warmup_epochs
    )  # fmt: skip


def test_a_slow_architecture_that_ends_best_is_kept_where_the_median_rule_prunes_it():
    completed = [FAST, SLOW, FAST]
    assert reason("slow", [0.11, 0.21], completed) is None
    study = optuna.create_study(direction="maximize", pruner=optuna.pruners.MedianPruner(0, 0))
    for _, curve in completed:
        study.add_trial(optuna.trial.create_trial(value=max(curve), intermediate_values=dict(enumerate(curve))))
    trial = study.ask()
    trial.report(0.11, 0)
    trial.report(0.21, 1)
    assert trial.should_prune(), "the median rule would have kept it, too"


def test_a_fast_architecture_that_ends_below_the_median_is_pruned():
    assert "0.560 after epoch 2" in reason("fast", [0.55, 0.56], [FAST, SLOW, SLOW])


def test_with_one_architecture_the_trials_below_the_median_are_pruned():
    completed = [("one", [0.1 * k, 0.2 * k, 0.3 * k]) for k in (1, 2, 3)]
    assert reason("one", [0.1, 0.2], completed)
    assert reason("one", [0.3, 0.5], completed) is None


@pytest.mark.parametrize(
    ("architecture", "curve", "completed", "options"),
    [
        ("fast", [0.1], [FAST, FAST], {"warmup_epochs": 1}),
        ("fast", [0.1], [FAST, FAST], {"startup_trials": 3}),
        ("new", [0.1], [FAST, SLOW], {}),
        ("fast", [0.1], [], {}),
    ],
)
def test_nothing_is_pruned_without_enough_completed_trials_of_the_architecture(architecture, curve, completed, options):
    assert reason(architecture, curve, completed, **options) is None


def test_a_completed_trial_of_fewer_epochs_counts_with_its_final_accuracy():
    short = ("one", [0.4, 0.6])
    assert reason("one", [0.3, 0.5, 0.6], [short]) is None
    assert reason("one", [0.3, 0.4, 0.5], [short])
