"""Objectives and limits of a study, its Pareto front, and which of its trials is trained.

The parameters are ``objectives``, ``max_params``, ``max_latency_ms``, ``max_memory_mb`` and ``pick`` of `TuneParams`.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Literal

from optuna.trial import FrozenTrial

from genreflow.tuning.params import TuneParams

ACCURACY = "track_accuracy"
COSTS = ("parameters", "latency_ms", "memory_mb")
# User attribute of a trial: how many validation tracks its accuracy was measured on.
VALID_TRACKS = "valid_tracks"
# The parameter of `tune` that limits a cost.
LIMIT_PARAMETER = {"parameters": "max_params", "latency_ms": "max_latency_ms", "memory_mb": "max_memory_mb"}
_FORMAT = {
    "parameters": "{:,.0f} parameters",
    "latency_ms": "latency {:.1f} ms",
    "memory_mb": "peak memory {:.0f} MiB",
}


def directions(tune: TuneParams) -> list[Literal["minimize", "maximize"]]:
    """Return Optuna's direction of each objective: accuracy is maximised, costs are minimised."""
    return ["maximize" if name == ACCURACY else "minimize" for name in tune.objectives]


def limits(tune: TuneParams) -> dict[str, float]:
    """Return the limits that are set, by cost."""
    found = {cost: getattr(tune, parameter) for cost, parameter in LIMIT_PARAMETER.items()}
    return {cost: limit for cost, limit in found.items() if limit is not None}


def is_needed(cost: str, tune: TuneParams) -> bool:
    """Return whether a cost is an objective or limited, so that every trial has to measure it."""
    return cost in tune.objectives or cost in limits(tune)


def constraint_values(costs: Mapping[str, float], tune: TuneParams) -> dict[str, float]:
    """Return by what share each limit is exceeded, as Optuna's constraints: satisfied if <= 0."""
    return {cost: costs[cost] / limit - 1 for cost, limit in limits(tune).items() if cost in costs}


def exceeded_limits(costs: Mapping[str, float], tune: TuneParams) -> str:
    """Describe the limits that are exceeded; empty if none is."""
    return "; ".join(
        f"{_FORMAT[cost].format(costs[cost])} > tune.{LIMIT_PARAMETER[cost]} {limits(tune)[cost]:g}"
        for cost, share in constraint_values(costs, tune).items()
        if share > 0
    )


def objective_values(accuracy: float, costs: Mapping[str, float], tune: TuneParams) -> list[float]:
    """Return a trial's values in the order of ``tune.objectives``."""
    return [accuracy if name == ACCURACY else float(costs[name]) for name in tune.objectives]


def pareto_front(trials: Sequence[FrozenTrial], tune: TuneParams) -> list[FrozenTrial]:
    """Return the trials that no other trial dominates, the most accurate first.

    A trial dominates another if it is at least as good in all objectives and better in one.

    Parameters
    ----------
    trials : sequence of FrozenTrial
        From `genreflow.tuning.trial_states.feasible_trials`.
    tune : TuneParams
        With one objective, the front is the best trial.
    """
    ranked = sorted(trials, key=_rank, reverse=True)
    if len(tune.objectives) == 1:
        return ranked[:1]
    losses = {trial.number: [-trial.values[0], *trial.values[1:]] for trial in ranked}

    def is_dominated(trial: FrozenTrial) -> bool:
        own = losses[trial.number]
        return any(all(b <= a for a, b in zip(own, other, strict=True)) and other != own for other in losses.values())

    return [trial for trial in ranked if not is_dominated(trial)]


def select_trial(trials: Sequence[FrozenTrial], tune: TuneParams) -> FrozenTrial:
    """Return the trial that ``tune.pick`` names.

    ``best`` is the most accurate trial. ``one_standard_error`` is, of the trials whose accuracy is at most one standard
    error below it, the one with the lowest second objective, or the fewest parameters if there is no second objective;
    this is how Breiman et al. (1984), "Classification and Regression Trees", section 3.4.3, choose the size of a tree.
    The standard error is that of a binomial proportion, ``sqrt(p * (1 - p) / n)`` over n validation tracks.

    Parameters
    ----------
    trials : sequence of FrozenTrial, not empty
        From `genreflow.tuning.trial_states.feasible_trials`.
    tune : TuneParams
    """
    best = max(trials, key=_rank)
    if tune.pick == "best":
        return best
    accuracy, tracks = best.values[0], best.user_attrs.get(VALID_TRACKS, 0)
    error = math.sqrt(accuracy * (1 - accuracy) / tracks) if tracks else 0.0
    candidates = [trial for trial in trials if trial.values[0] >= accuracy - error]
    return min(candidates, key=lambda trial: (_cost(trial, tune), *(-value for value in _rank(trial))))


def _cost(trial: FrozenTrial, tune: TuneParams) -> float:
    return trial.values[1] if len(tune.objectives) > 1 else trial.user_attrs.get("parameters", math.inf)


def _rank(trial: FrozenTrial) -> tuple[float, float]:
    # Accuracies of a small validation part are often equal; the lower loss then decides.
    return trial.values[0], -trial.user_attrs.get("val_loss", math.inf)
