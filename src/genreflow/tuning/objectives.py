"""What a study is after: objectives, limits, and which of its trials is trained in the end."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import optuna
from optuna.trial import FrozenTrial, TrialState

from genreflow.errors import ParameterError
from genreflow.tuning.storage import INFEASIBLE

ACCURACY = "track_accuracy"
Costs = Literal["parameters", "latency_ms", "memory_mb"]
Pick = Literal["best", "one_standard_error"]
COSTS: tuple[str, ...] = get_args(Costs)
# Of a trial: how many validation tracks its accuracy was measured on.
VALID_TRACKS = "valid_tracks"
LIMIT_OF = {"parameters": "max_params", "latency_ms": "max_latency_ms", "memory_mb": "max_memory_mb"}
_IN_WORDS = {
    "parameters": "{:,.0f} parameters",
    "latency_ms": "{:.1f} ms for a clip on one core",
    "memory_mb": "{:.0f} MB while it serves",
}


@dataclass(frozen=True, kw_only=True)
class Goals:
    """What is wanted of a model.

    Parameters
    ----------
    objectives : sequence of str
        ``track_accuracy`` (on validation, the higher the better) first; then any of ``parameters``, ``latency_ms``
        (a clip on one core) and ``memory_mb`` (of the whole service, at its peak [MiB]), the lower the better.
    max_params, max_latency_ms, max_memory_mb : float > 0 or None
        Limits. A configuration beyond one of them is not fitted.
    pick : {"best", "one_standard_error"}
        Of the trials within the limits, the one that is trained: the most accurate; or, of those no more than a
        standard error of its accuracy below it, the one with the lowest second objective (where there is none, the
        fewest parameters), as Breiman et al. 1984, "Classification and Regression Trees", section 3.4.3, choose trees.
    """

    objectives: Sequence[str] = (ACCURACY,)
    max_params: float | None = None
    max_latency_ms: float | None = None
    max_memory_mb: float | None = None
    pick: Pick = "best"

    def __post_init__(self) -> None:
        if not self.objectives or self.objectives[0] != ACCURACY:
            raise ParameterError(f"tune.objectives must begin with {ACCURACY}.")
        for name in self.objectives[1:]:
            if name not in COSTS or self.objectives.count(name) > 1:
                raise ParameterError(f"tune.objectives names {name!r}; each of {', '.join(COSTS)} may follow once.")

    @property
    def directions(self) -> list[str]:
        return ["maximize", *["minimize"] * (len(self.objectives) - 1)]

    @property
    def limits(self) -> dict[str, float]:
        """The limits that are set, by what they limit."""
        return {cost: limit for cost, name in LIMIT_OF.items() if (limit := getattr(self, name)) is not None}

    def needs(self, cost: str) -> bool:
        """Whether `cost` has to be measured."""
        return cost in self.objectives or cost in self.limits

    def excess(self, costs: Mapping[str, float]) -> dict[str, float]:
        """By how much each limit is broken, as a share of it; not above 0 where it holds."""
        return {cost: costs[cost] / limit - 1 for cost, limit in self.limits.items() if cost in costs}

    def broken(self, costs: Mapping[str, float]) -> str:
        """Which limits are broken, in words; empty where all hold."""
        faults = [
            f"{_IN_WORDS[cost].format(costs[cost])}, where tune.{LIMIT_OF[cost]} is {self.limits[cost]:g}"
            for cost, share in self.excess(costs).items()
            if share > 0
        ]
        return "; ".join(faults)

    def values(self, accuracy: float, costs: Mapping[str, float]) -> list[float]:
        """A trial's values, in the order of `objectives`."""
        return [accuracy, *(float(costs[name]) for name in self.objectives[1:])]


def finished(study: optuna.Study) -> list[FrozenTrial]:
    """The trials that came to their end within all limits."""
    complete = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    return [trial for trial in complete if INFEASIBLE not in trial.user_attrs]


def front(trials: Sequence[FrozenTrial], goals: Goals) -> list[FrozenTrial]:
    """The Pareto front: the trials that no other one equals in all objectives and beats in one; the best one first.

    Parameters
    ----------
    trials : sequence of FrozenTrial
        From `finished`.
    goals : Goals
        Of one objective the front is the best trial.
    """
    ranked = sorted(trials, key=_rank, reverse=True)
    if len(goals.objectives) == 1:
        return ranked[:1]
    costs = {trial.number: [-trial.values[0], *trial.values[1:]] for trial in ranked}

    def beaten(one: FrozenTrial) -> bool:
        return any(
            all(b <= a for a, b in zip(costs[one.number], other, strict=True)) and other != costs[one.number]
            for other in costs.values()
        )

    return [trial for trial in ranked if not beaten(trial)]


def choose(trials: Sequence[FrozenTrial], goals: Goals) -> FrozenTrial:
    """The trial that `Goals.pick` takes.

    Parameters
    ----------
    trials : sequence of FrozenTrial, not empty
        From `finished`.
    """
    best = max(trials, key=_rank)
    if goals.pick == "best":
        return best
    accuracy, tracks = best.values[0], best.user_attrs.get(VALID_TRACKS, 0)
    error = math.sqrt(accuracy * (1 - accuracy) / tracks) if tracks else 0.0
    near = [trial for trial in trials if trial.values[0] >= accuracy - error]
    return min(near, key=lambda trial: (_cost(trial, goals), *(-x for x in _rank(trial))))


def _cost(trial: FrozenTrial, goals: Goals) -> float:
    return trial.values[1] if len(goals.objectives) > 1 else trial.user_attrs.get("parameters", math.inf)


def _rank(trial: FrozenTrial) -> tuple[float, float]:
    # Among equals of a small validation split, the one that was surer of the right answers.
    return trial.values[0], -trial.user_attrs.get("val_loss", math.inf)
