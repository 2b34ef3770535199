"""Pruning compares where trials lead, so that architectures of different speed stand side by side."""

import optuna
import pytest

from genreflow.tuning.pruning import hopeless

FAST = ("fast", [0.55, 0.58, 0.60, 0.60])
SLOW = ("slow", [0.10, 0.20, 0.50, 0.80])


def judged(architecture, curve, others, startup_trials=0, warmup_epochs=0):
    return hopeless(architecture, curve, others, startup_trials=startup_trials, warmup_epochs=warmup_epochs)


def test_a_slow_starter_that_ends_best_is_kept_where_the_median_rule_prunes_it():
    others = [FAST, SLOW, FAST]
    assert not judged("slow", [0.11, 0.21], others)
    study = optuna.create_study(direction="maximize", pruner=optuna.pruners.MedianPruner(0, 0))
    for _, curve in others:
        study.add_trial(optuna.trial.create_trial(value=max(curve), intermediate_values=dict(enumerate(curve))))
    trial = study.ask()
    trial.report(0.11, 0)
    trial.report(0.21, 1)
    assert trial.should_prune(), "or this test shows nothing"


def test_a_fast_starter_that_leads_nowhere_is_pruned():
    assert "0.560 after epoch 2" in judged("fast", [0.55, 0.56], [FAST, SLOW, SLOW])


def test_of_one_architecture_the_worse_half_is_pruned():
    others = [("one", [0.1 * k, 0.2 * k, 0.3 * k]) for k in (1, 2, 3)]
    assert judged("one", [0.1, 0.2], others)
    assert not judged("one", [0.3, 0.5], others)


@pytest.mark.parametrize(
    ("architecture", "curve", "others", "options"),
    [
        ("fast", [0.1], [FAST, FAST], {"warmup_epochs": 1}),
        ("fast", [0.1], [FAST, FAST], {"startup_trials": 3}),
        ("new", [0.1], [FAST, SLOW], {}),
        ("fast", [0.1], [], {}),
    ],
)
def test_nothing_is_pruned_without_something_to_compare_with(architecture, curve, others, options):
    assert not judged(architecture, curve, others, **options)


def test_a_trial_that_stopped_early_counts_with_what_it_reached():
    short = ("one", [0.4, 0.6])
    assert not judged("one", [0.3, 0.5, 0.6], [short])
    assert judged("one", [0.3, 0.4, 0.5], [short])
