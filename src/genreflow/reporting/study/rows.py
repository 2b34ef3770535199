"""The trials of a study as rows, which every plot and table is drawn from."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Self

import optuna
from optuna.distributions import BaseDistribution
from optuna.trial import FrozenTrial, TrialState

# Okabe & Ito 2008, "Color Universal Design", but for black and yellow, which a dark or a white ground would swallow;
# the last two are as far from the six, for the colour-blind too, as these are from each other.
PALETTE = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#8a3ffc", "#994433")
GREY = "#888888"
# How a trial can end: a symbol that tells it without colour, by the name that Plotly has for it.
OUTCOMES = {
    "complete": "circle",
    "pruned": "x-thin",
    "infeasible": "diamond-open",
    "failed": "triangle-down-open",
    "interrupted": "triangle-up-open",
    "running": "square-open",
    "waiting": "cross-open",
}


@dataclass(frozen=True)
class Objective:
    """What a study is after, and how an axis names it.

    Parameters
    ----------
    name : str
        ``track_accuracy``, ``parameters``, ``latency_ms``, ``memory_mb``.
    title : str
        With its unit.
    higher_is_better : bool
    """

    name: str
    title: str
    higher_is_better: bool = False

    @classmethod
    def named(cls, name: str) -> Self:
        """The objective of a name that ``tune.objectives`` takes.

        Raises
        ------
        KeyError
            No study has such an objective.
        """
        return cls(name, _TITLES[name], higher_is_better=name == "track_accuracy")


_TITLES = {
    "track_accuracy": "Track accuracy on validation",
    "parameters": "Parameters",
    "latency_ms": "Latency of a clip on one core [ms]",
    "memory_mb": "Memory while serving [MiB]",
}
COSTS = ("parameters", "latency_ms", "memory_mb")


@dataclass(frozen=True, kw_only=True)
class Row:
    """One trial.

    Parameters
    ----------
    number : int >= 0
    outcome : str
        One of `OUTCOMES`.
    architecture : str
        Empty where none had been drawn yet.
    colour : str
        ``#rrggbb``, of the architecture.
    values : dict of str to float
        By objective and cost, those that are known and finite. Of a trial that did not come to its end, the track
        accuracy is its best until then.
    curve : list of float [shape=(epochs,)]
        Track accuracy on validation after each epoch.
    reason : str
        Which constraints it violates, in words.
    seconds : float >= 0 or None
    params : dict of str to any
        Knobs of the architecture under their own names, so that those of different architectures meet.
    domains : dict of str to BaseDistribution
        What `params` were drawn from.
    chosen, front : bool
        Whether it is the trial that is trained; whether it is Pareto-optimal.
    """

    number: int
    outcome: str
    architecture: str
    colour: str
    values: Mapping[str, float]
    curve: Sequence[float]
    reason: str = ""
    seconds: float | None = None
    params: Mapping[str, object] = field(default_factory=dict)
    domains: Mapping[str, BaseDistribution] = field(default_factory=dict)
    chosen: bool = False
    front: bool = False


def read_trials(
    study: optuna.Study, objectives: Sequence[Objective], *, front: Sequence[int], chosen: int | None
) -> list[Row]:
    """Read all trials, in the order of their numbers.

    Parameters
    ----------
    study : optuna.Study
    objectives : sequence of Objective
        In the order of the study's directions.
    front : sequence of int
        Numbers of the Pareto-optimal trials.
    chosen : int or None
        Number of the trial that is trained.

    Returns
    -------
    rows : list of Row
        An architecture keeps its colour as the study grows.
    """
    trials = study.get_trials(deepcopy=False)
    names = dict.fromkeys(filter(None, map(_architecture, trials)))
    colours = dict(zip(names, PALETTE, strict=False))
    return [
        Row(
            number=trial.number,
            outcome=_outcome(trial),
            architecture=(name := _architecture(trial)),
            colour=colours.get(name, GREY),
            values=_values(trial, objectives),
            curve=_curve(trial),
            reason=_reason(trial),
            seconds=trial.duration.total_seconds() if trial.duration else None,
            params={_own(key, name): value for key, value in trial.params.items() if key != "architecture"},
            domains={_own(key, name): of for key, of in trial.distributions.items() if key != "architecture"},
            chosen=trial.number == chosen,
            front=trial.number in front,
        )
        for trial in trials
    ]


def known_costs(rows: Sequence[Row], objectives: Sequence[Objective]) -> list[Objective]:
    """What accuracy is weighed against: the other objectives; of a study with one, whatever costs were measured."""
    if len(objectives) > 1:
        return list(objectives[1:])
    return [Objective.named(cost) for cost in COSTS if any(cost in row.values for row in rows)]


def _architecture(trial: FrozenTrial) -> str:
    return str(trial.user_attrs.get("architecture") or trial.params.get("architecture", ""))


def _outcome(trial: FrozenTrial) -> str:
    if trial.state == TrialState.FAIL:
        return "interrupted" if trial.user_attrs.get("interrupted") else "failed"
    if trial.state.is_finished() and ("infeasible" in trial.user_attrs or _violated(trial)):
        return "infeasible"
    return trial.state.name.lower()


def _violated(trial: FrozenTrial) -> dict[str, float]:
    return {name: by for name, by in trial.constraints.items() if by > 0}


def _reason(trial: FrozenTrial) -> str:
    violated = ", ".join(f"{name}: {by:.3g} too much" for name, by in _violated(trial).items())
    return str(trial.user_attrs.get("infeasible") or violated)


def _curve(trial: FrozenTrial) -> list[float]:
    # JSON, and so a plot, knows no NaN.
    return [value for value in trial.user_attrs.get("val_track_accuracy_by_epoch", ()) if math.isfinite(value)]


def _values(trial: FrozenTrial, objectives: Sequence[Objective]) -> dict[str, float]:
    values = {cost: trial.user_attrs.get(cost) for cost in COSTS}
    if trial.state == TrialState.COMPLETE:
        values |= zip((objective.name for objective in objectives), trial.values, strict=True)
    elif curve := _curve(trial):
        values[objectives[0].name] = max(curve)
    return {name: value for name, value in values.items() if value is not None and math.isfinite(value)}


def _own(key: str, architecture: str) -> str:
    """Name of a hyperparameter without its architecture; a learning rate's range may depend on the optimiser, too."""
    name = key.removeprefix(f"{architecture}.")
    return "learning_rate" if name.startswith("learning_rate.") else name
