"""Parallel coordinates of a study with conditional hyperparameters."""

import math
from collections.abc import Sequence
from typing import TypeGuard

from genreflow.reporting.study.charts import LOG_RATIO, Axis, Chart
from genreflow.reporting.study.data import ACCURACY, Study, Trial
from genreflow.reporting.study.formatting import axis_ticks, format_numbers, label
from genreflow.reporting.study.points import outline_meaning

# With more axes their titles overlap.
MAX_AXES = 11


def parallel_coordinates(study: Study) -> Chart:
    """Draw one line for each trial through its hyperparameters, costs and accuracy.

    Hyperparameters with the same name in several architectures share an axis. The most important ones come first; those
    that do not fit are named in the explanation.
    """
    title = f"{study.mark}parallel coordinates"
    drawn = [trial for trial in study.trials if ACCURACY in trial.values]
    if len(drawn) < 2:
        explanation = "Parallel coordinates need at least two trials with a track accuracy."
        return Chart(key="parallel_coordinates", title=title, explanation=explanation)
    costs = [cost for cost in study.costs if any(cost.name in trial.values for trial in drawn)]
    results = [*reversed(costs), study.objectives[0]]
    names = _varying_hyperparameters(study, drawn)
    shown, hidden = names[: MAX_AXES - 1 - len(results)], names[MAX_AXES - 1 - len(results) :]
    architectures = [trial.architecture for trial in drawn]
    axes = [
        _categorical_axis("architecture", architectures, list(dict.fromkeys(architectures))),
        *(
            _axis(label(name), [trial.params.get(name) for trial in drawn], log=name in study.log_scale)
            for name in shown
        ),
        *(_axis(of.title, [trial.values.get(of.name) for trial in drawn], log=None) for of in results),
    ]
    explanation = (
        "Every line is a trial that was fitted, from its hyperparameters to its results. Drag along an axis to select "
        "the lines that cross it there, and click the axis to clear the selection: with the top of the last axis "
        "selected, the others show the hyperparameters of good trials. A line through “none” has no such "
        "hyperparameter."
    )
    if hidden:
        names_hidden = ", ".join(label(name) for name in hidden)
        explanation += f" Without an axis, since less important or of a single architecture: {names_hidden}."
    return Chart(
        key="parallel_coordinates",
        title=title,
        explanation=explanation,
        axes=axes,
        trials=drawn,
        outline=outline_meaning(study),
    )


def _varying_hyperparameters(study: Study, trials: Sequence[Trial]) -> list[str]:
    """Return the hyperparameters that vary, by importance, then by the number of trials that have them."""
    names = dict.fromkeys(name for trial in trials for name in trial.params)
    values = {name: [trial.params[name] for trial in trials if name in trial.params] for name in names}
    varying = [name for name in names if len({repr(value) for value in values[name]}) > 1]
    return sorted(varying, key=lambda name: (-study.importances.get(name, 0), -len(values[name]), name))


def _axis(title: str, values: Sequence[object], *, log: bool | None) -> Axis:
    """Return an axis of numbers, or of categories; with `log` None, the scale depends on the range of the numbers."""
    numbers = [value for value in values if _is_number(value)]
    present = {value for value in values if value is not None}
    if len(numbers) < sum(value is not None for value in values):
        return _categorical_axis(title, values, sorted(present, key=str))
    low, high = min(numbers), max(numbers)
    if log is not None and len(present) <= 6 and all(float(value).is_integer() for value in numbers):
        return _categorical_axis(title, values, sorted(set(numbers)))
    if log is None:
        log = low > 0 and high / low > LOG_RATIO
    scale = math.log10 if log else float
    bottom, top = scale(low), scale(high)

    def position(value: float) -> float:
        return (scale(value) - bottom) / (top - bottom) if top > bottom else 0.5

    ticks = axis_ticks(low, high, log=log)
    return Axis(
        title=title,
        positions=[position(value) if _is_number(value) else None for value in values],
        ticks=[(position(tick), text) for tick, text in zip(ticks, format_numbers(ticks), strict=True)],
    )


def _is_number(value: object) -> TypeGuard[float]:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _categorical_axis(title: str, values: Sequence[object], choices: Sequence[object]) -> Axis:
    positions = {choice: (n + 0.5) / len(choices) for n, choice in enumerate(choices)}
    numbers = [choice for choice in choices if _is_number(choice)]
    texts = (
        format_numbers(numbers)
        if len(numbers) == len(choices)
        else [str(choice).replace("_", " ") for choice in choices]
    )
    return Axis(
        title=title,
        positions=[None if value is None else positions[value] for value in values],
        ticks=list(zip(positions.values(), texts, strict=True)),
    )
