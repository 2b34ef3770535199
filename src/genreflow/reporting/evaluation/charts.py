"""Plots of an evaluation as SVG."""

import math
from collections.abc import Mapping, Sequence

from genreflow.reporting.evaluation.data import (
    Evaluation,
    Prediction,
    accuracy_by_coverage,
    accuracy_by_familiarity,
    reliability,
)
from genreflow.reporting.svg import AXIS, LEFT, RIGHT, WIDTH, round_values, svg, text

_HEIGHT, _TOP = 228, 22
_BOTTOM, _END = _HEIGHT - 2 * AXIS, WIDTH - RIGHT
_ROW, _NAMES = 26, 150


def _x(share: float) -> float:
    return LEFT + (_END - LEFT) * share


def _y(share: float) -> float:
    return _BOTTOM - (_BOTTOM - _TOP) * share


def accuracy_bars(evaluation: Evaluation) -> str:
    """Draw the accuracy of the model and of the baselines on the same tracks, with 95 % intervals."""
    track = evaluation.track
    rows = [
        ("model", track.accuracy, track.accuracy_low, track.accuracy_high),
        *((row.baseline, row.accuracy, row.accuracy_low, row.accuracy_high) for row in evaluation.baselines),
    ]
    bottom = _TOP + _ROW * len(rows)
    scale = WIDTH - RIGHT - _NAMES - 34
    elements = [f'<path class="axis" d="M{_NAMES} {_TOP - 6}V{bottom}"/>']
    for number, (name, accuracy, low, high) in enumerate(rows):
        middle = _TOP + _ROW * number + _ROW / 2
        for line, part in enumerate(_two_lines(name)):
            elements.append(text(_NAMES - 6, middle + 3.5 + 10 * line - 5 * (len(_two_lines(name)) - 1), part, "end"))
        elements.append(
            f'<rect class="series{min(number, 1)}" x="{_NAMES}" y="{middle - 7}" width="{scale * accuracy:.1f}" '
            'height="14"/>'
        )
        elements.append(
            f'<path class="interval" d="M{_NAMES + scale * low:.1f} {middle}H{_NAMES + scale * high:.1f}'
            f'M{_NAMES + scale * low:.1f} {middle - 4}v8M{_NAMES + scale * high:.1f} {middle - 4}v8"/>'
        )
        elements.append(text(_NAMES + scale * high + 5, middle + 3.5, f"{100 * accuracy:.0f} %", "start"))
    return svg(elements, bottom + 8)


def _two_lines(name: str) -> list[str]:
    if len(name) <= 24:
        return [name]
    cut = name.rfind(" ", 0, 25)
    return [name[:cut], name[cut + 1 :]]


def reliability_diagram(predictions: list[Prediction]) -> str:
    """Draw accuracy against confidence, in bins of confidence; the area of a point is its number of tracks."""
    elements = _square_axes("confidence of the prediction", "accuracy")
    elements.append(f'<path class="ideal" d="M{_x(0)} {_y(0)}L{_x(1)} {_y(1)}"/>')
    rows = reliability(predictions)
    points = [(_x(row["confidence"]), _y(row["accuracy"])) for row in rows]
    elements.append(f'<path class="line0" d="{_polyline(points)}"/>')
    largest = max(row["n"] for row in rows)
    for (x, y), row in zip(points, rows, strict=True):
        radius = 3 + 6 * (row["n"] / largest) ** 0.5
        elements.append(
            f'<circle class="series0" cx="{x:.1f}" cy="{y:.1f}" r="{radius:.1f}"><title>confidence {row["low"]:.1f} to '
            f"{row['high']:.1f}: {row['n']} tracks, accuracy {row['accuracy']:.0%}</title></circle>"
        )
    return svg(elements, _HEIGHT)


def familiarity_curve(predictions: list[Prediction]) -> str | None:
    """Draw accuracy against unfamiliarity, in bins of as many tracks each; None if the model has no measure."""
    rows = accuracy_by_familiarity(predictions)
    if not rows:
        return None
    top = max(1.05 * rows[-1]["high"], 1e-6)
    elements = _square_axes("distance from the training music", "accuracy", top=top)
    points = [(_x(row["unfamiliarity"] / top), _y(row["accuracy"])) for row in rows]
    elements.append(f'<path class="line0" d="{_polyline(points)}"/>')
    for (x, y), row in zip(points, rows, strict=True):
        elements.append(
            f'<circle class="series0" cx="{x:.1f}" cy="{y:.1f}" r="5"><title>distance {row["low"]:.3f} to '
            f"{row['high']:.3f}: {row['n']} tracks, accuracy {row['accuracy']:.0%}</title></circle>"
        )
    return svg(elements, _HEIGHT)


def coverage_curve(predictions: list[Prediction], uncertain: int) -> str:
    """Draw the accuracy on the most confident tracks against their share; a line marks where the model is uncertain."""
    elements = _square_axes("share of the tracks, the most confident first", "accuracy")
    coverage, accuracy = accuracy_by_coverage(predictions)
    elements.append(
        f'<path class="line0" d="{_polyline([(_x(c), _y(a)) for c, a in zip(coverage, accuracy, strict=True)])}"/>'
    )
    if uncertain:
        share = 1 - uncertain / len(predictions)
        elements.append(f'<path class="ideal" d="M{_x(share):.1f} {_y(0)}V{_y(1)}"/>')
        elements.append(text(_x(share) - 4, _y(0) - 6, "uncertain to the right", "end"))
    return svg(elements, _HEIGHT)


def learning_curves(curves: Mapping[str, Sequence[float]], names: Mapping[str, str], *, share: bool) -> str:
    """Draw columns of the learning curves against the epoch.

    Parameters
    ----------
    curves : mapping of str to sequence of float [shape=(epochs,)]
    names : mapping of str to str
        The columns to draw, at most three, with their names in the legend.
    share : bool
        Whether the values are in [0, 1]; otherwise the axis starts at 0 and ends at the highest one.
    """
    drawn = {name: curves[name] for name in names if name in curves}
    finite = [value for values in drawn.values() for value in values if math.isfinite(value)]
    top = 1.0 if share else 1.05 * max(finite, default=1.0)
    epochs = max((len(values) for values in drawn.values()), default=1)

    def x(index: int) -> float:
        return LEFT + (_END - LEFT) * (index / (epochs - 1) if epochs > 1 else 0.5)

    elements = [
        f'<path class="axis" d="M{LEFT} {_TOP}V{_BOTTOM}H{_END}"/>',
        text((LEFT + _END) / 2, _HEIGHT - 4, "epoch", "middle"),
        text(LEFT - 26, _TOP - 9, "accuracy [%]" if share else "loss [nats]", "start"),
    ]
    for value in round_values(0, top, most=5):
        label = f"{100 * value:.0f}" if share else f"{value:g}"
        elements.append(
            f'<path d="M{LEFT - 3} {_y(value / top):.1f}h3"/>' + text(LEFT - 5, _y(value / top) + 3.5, label, "end")
        )
    for value in sorted({1, *(round(v) for v in round_values(1, epochs, most=6))} if epochs > 1 else {1}):
        elements.append(
            f'<path d="M{x(value - 1):.1f} {_BOTTOM}v3"/>' + text(x(value - 1), _BOTTOM + 14, f"{value}", "middle")
        )
    for number, (name, values) in enumerate(drawn.items()):
        points = [(x(index), _y(value / top)) for index, value in enumerate(values) if math.isfinite(value)]
        elements.append(f'<path class="line{number}" d="{_polyline(points)}"/>')
        y = (_BOTTOM - 12 * (len(drawn) - number)) if share else (_TOP + 8 + 12 * number)
        elements.append(
            f'<path class="line{number}" d="M{_END - 118} {y - 3.5}h14"/>' + text(_END - 100, y, names[name], "start")
        )
    return svg(elements, _HEIGHT)


def _square_axes(x_title: str, y_title: str, *, top: float | None = None) -> list[str]:
    """Draw axes in percent; with `top`, the x axis from 0 to that value."""
    elements = [
        f'<path class="axis" d="M{LEFT} {_TOP}V{_BOTTOM}H{_END}"/>',
        text((LEFT + _END) / 2, _HEIGHT - 4, x_title if top else f"{x_title} [%]", "middle"),
        text(LEFT - 26, _TOP - 9, f"{y_title} [%]", "start"),
    ]
    ticks = [(value / 100, f"{value}") for value in (0, 25, 50, 75, 100)]
    if top:
        ticks = [(value / top, f"{value:g}") for value in round_values(0, top, most=5)]
    for share, label in ticks:
        elements.append(f'<path d="M{_x(share):.1f} {_BOTTOM}v3"/>' + text(_x(share), _BOTTOM + 14, label, "middle"))
    for percent in (0, 25, 50, 75, 100):
        share = percent / 100
        elements.append(
            f'<path d="M{LEFT - 3} {_y(share):.1f}h3"/>' + text(LEFT - 5, _y(share) + 3.5, f"{percent}", "end")
        )
    return elements


def _polyline(points: Sequence[tuple[float, float]]) -> str:
    return "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in points) if points else ""
