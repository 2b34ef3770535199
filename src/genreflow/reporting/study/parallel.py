"""Parallel coordinates that stay legible with conditional hyperparameters."""

import math
from collections.abc import Mapping, Sequence

from genreflow.reporting.study.charts import LOG_FROM, Axis, Chart, numbers, spoken, ticks
from genreflow.reporting.study.points import ring
from genreflow.reporting.study.rows import Objective, Row, known_costs

MOST = 11  # axes; with more, their names run into each other


def parallel_coordinates(
    rows: Sequence[Row], objectives: Sequence[Objective], shares: Mapping[str, float], mark: str
) -> Chart:
    """Axes of what was chosen, then of what came of it.

    Knobs of the same name in several architectures share an axis, and those of a single one have none: on an axis each,
    most trials would stand nowhere.

    Parameters
    ----------
    rows : sequence of Row
    objectives : sequence of Objective
    shares : mapping of str to float
        From `importances`: the most important hyperparameters come first.
    mark : str
        Before the title.
    """
    title = f"{mark}parallel coordinates"
    drawn = [row for row in rows if objectives[0].name in row.values]
    if len(drawn) < 2:
        reading = "It takes two trials with a track accuracy to compare them."
        return Chart(key="parallel_coordinates", title=title, reading=reading)
    costs = [cost for cost in known_costs(drawn, objectives) if any(cost.name in row.values for row in drawn)]
    results = [*reversed(costs), objectives[0]]
    names = _names(drawn, shares)
    shown = names[: MOST - 1 - len(results)]
    architectures = list(dict.fromkeys(row.architecture for row in drawn))
    axes = [
        _categories("architecture", [row.architecture for row in drawn], architectures),
        *(_axis(spoken(name), [row.params.get(name) for row in drawn], _log(drawn, name)) for name in shown),
        *(_axis(of.title, [row.values.get(of.name) for row in drawn], None) for of in results),
    ]
    reading = (
        "Every line is a trial that was fitted, from its hyperparameters to what came of them. Drag along an axis to "
        "keep the lines that pass there (a click on it ends that): with the top of the last axis kept, the others show "
        "where good trials lie. A line through “none” has no such hyperparameter."
    )
    if hidden := [spoken(name) for name in names[len(shown) :]]:
        reading += f" Without an axis, as less important or in one architecture only: {', '.join(hidden)}."
    return Chart(
        key="parallel_coordinates", title=title, reading=reading, axes=axes, rows=drawn, ring=ring(rows, objectives)
    )


def _names(rows: Sequence[Row], shares: Mapping[str, float]) -> list[str]:
    """Hyperparameters that vary, the ones with most to tell first: of all trials by importance, then of most trials."""
    names = dict.fromkeys(name for row in rows for name in row.params)
    varying = [name for name in names if len({repr(row.params[name]) for row in rows if name in row.params}) > 1]
    having = {name: sum(name in row.params for row in rows) for name in varying}
    return sorted(varying, key=lambda name: (-shares.get(name, 0), -having[name], name))


def _log(rows: Sequence[Row], name: str) -> bool | None:
    return any(getattr(row.domains.get(name), "log", False) for row in rows)


def _axis(title: str, values: Sequence[object], log: bool | None) -> Axis:
    """An axis of numbers, or of categories; `log` is found from the numbers if None."""
    present = {value for value in values if value is not None}
    if not all(_is_number(value) for value in present):
        return _categories(title, values, sorted(present, key=str))
    low, high = min(present), max(present)
    if log is not None and len(present) <= 6 and all(float(value).is_integer() for value in present):
        return _categories(title, values, sorted(present))
    if log is None:
        log = low > 0 and high / low > LOG_FROM
    scale = math.log10 if log else float
    bottom, top = scale(low), scale(high)

    def place(value: float) -> float:
        return (scale(value) - bottom) / (top - bottom) if top > bottom else 0.5

    marks = ticks(low, high, log=log)
    return Axis(
        title=title,
        places=[None if value is None else place(value) for value in values],
        ticks=[(place(tick), words) for tick, words in zip(marks, numbers(marks), strict=True)],
    )


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _categories(title: str, values: Sequence[object], choices: Sequence[object]) -> Axis:
    places = {choice: (n + 0.5) / len(choices) for n, choice in enumerate(choices)}
    words = numbers(choices) if all(map(_is_number, choices)) else [str(of).replace("_", " ") for of in choices]
    return Axis(
        title=title,
        places=[None if value is None else places[value] for value in values],
        ticks=list(zip(places.values(), words, strict=True)),
    )
