"""Trials as points: one style for each pair of architecture and state, the same in all plots."""

from collections import defaultdict
from collections.abc import Callable, Sequence

from genreflow.reporting.study.charts import Series
from genreflow.reporting.study.data import ACCURACY, STATES, Objective, Study, Trial, costs_of
from genreflow.reporting.study.formatting import format_number

# States of trials that may have no accuracy and are drawn nevertheless.
WITHOUT_ACCURACY = ("infeasible", "failed", "interrupted")


def hover_text(trial: Trial, objectives: Sequence[Objective]) -> str:
    """Return the lines shown over a trial's point: number, architecture, state, values, violated constraints."""
    state = {"pruned": f"pruned after {len(trial.curve)} epochs", "finished": "chosen" if trial.chosen else ""}
    head = [f"trial {trial.number}", trial.architecture, state.get(trial.state, trial.state)]
    values = [
        f"{of.title}: {format_number(trial.values[of.name])}"
        for of in (objectives[0], *costs_of([trial], objectives))
        if of.name in trial.values
    ]
    return "\n".join([", ".join(filter(None, head)), *values, *filter(None, [trial.reason])])


def group_by_style(trials: Sequence[Trial]) -> list[list[Trial]]:
    """Group trials that are drawn in the same style, in drawing order: Pareto-optimal ones last but the chosen one."""
    groups = defaultdict(list)
    for trial in sorted(trials, key=lambda trial: (trial.chosen, trial.pareto_optimal)):
        groups[trial.chosen, trial.pareto_optimal, trial.architecture, trial.state].append(trial)
    return list(groups.values())


def points(
    trials: Sequence[Trial], x: Callable[[Trial], float], y: Callable[[Trial], float], objectives: Sequence[Objective]
) -> list[Series]:
    """Return one point for each trial; the chosen one is a star.

    Parameters
    ----------
    trials : sequence of Trial
    x, y : callable
        From a trial to its coordinates.
    objectives : sequence of Objective
    """
    return [
        Series(
            x=[x(trial) for trial in group],
            y=[y(trial) for trial in group],
            hover=[hover_text(trial, objectives) for trial in group],
            colour=first.colour,
            symbol="star" if first.chosen else STATES[first.state],
            size=18 if first.chosen else 11 if first.pareto_optimal else 8,
            opacity=1.0 if first.state == "finished" else 0.85,
            architecture=first.architecture,
            state=first.state,
            outlined=first.chosen or first.pareto_optimal,
        )
        for group in group_by_style(trials)
        for first in group[:1]
    ]


def outline_meaning(study: Study) -> str:
    """Return what outlined markers are; empty if only the chosen trial has one."""
    if not any(trial.pareto_optimal and not trial.chosen for trial in study.trials):
        return ""
    return "Pareto-optimal" if len(study.objectives) > 1 else "most accurate"


def baseline(scored: Sequence[Trial]) -> float:
    """Return a height below all accuracies, where trials without one are drawn."""
    values = [trial.values[ACCURACY] for trial in scored]
    return min(values) - max(0.02, 0.08 * (max(values) - min(values)))


def baseline_note(drawn: Sequence[Trial]) -> str:
    """Return a sentence on the trials that are drawn at the baseline; empty if there are none."""
    states = dict.fromkeys(trial.state for trial in drawn if ACCURACY not in trial.values)
    return f" At the lower edge: {', '.join(states)} trials, which have no accuracy." if states else ""
