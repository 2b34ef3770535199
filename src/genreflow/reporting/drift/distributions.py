"""Plots of two samples as SVG."""

from collections.abc import Mapping

import numpy as np

from genreflow.reporting.svg import AXIS, LEFT, RIGHT, WIDTH, round_values, svg, text

_HEIGHT, _TOP = 150, 22
_BOTTOM, _END = _HEIGHT - AXIS, WIDTH - RIGHT
_ROW, _NAMES = 20, 110


def cumulative_curves(reference: np.ndarray, window: np.ndarray) -> str:
    """Draw the cumulative distributions of two samples [shape=(n,)] of one value."""
    low, high = float(min(reference.min(), window.min())), float(max(reference.max(), window.max()))
    span = (high - low) or 1.0

    def x(value: float) -> float:
        return LEFT + (_END - LEFT) * (value - low) / span

    elements = [f'<path class="axis" d="M{LEFT} {_TOP}V{_BOTTOM}H{_END}"/>', text(4, _TOP - 9, "share [%]", "start")]
    for percent in (0, 50, 100):
        elements.append(text(LEFT - 5, _y(percent / 100) + 3.5, f"{percent}", "end"))
    for value in round_values(low, low + span, most=6):
        elements.append(
            f'<path d="M{x(value):.1f} {_BOTTOM}v3"/>' + text(x(value), _BOTTOM + 14, f"{value:g}", "middle")
        )
    for number, sample in enumerate((reference, window)):
        ordered = np.sort(sample)
        steps = [f"M{x(float(ordered[0])):.1f} {_y(0):.1f}"]
        for rank, value in enumerate(ordered.tolist(), start=1):
            steps.append(f"H{x(value):.1f}V{_y(rank / len(ordered)):.1f}")
        elements.append(f'<path class="line{number}" d="{"".join(steps)}H{_END}"/>')
    return svg(elements, _HEIGHT)


def share_bars(reference: Mapping[str, float], window: Mapping[str, float]) -> str:
    """Draw two shares in [0, 1] of each name."""
    top = max((*reference.values(), *window.values(), 1e-9))
    scale = WIDTH - RIGHT - _NAMES - 34
    elements = []
    for number, name in enumerate(reference):
        y = 4 + _ROW * number
        elements.append(text(_NAMES - 6, y + 11, name[:20], "end"))
        for row, share in enumerate((reference[name], window.get(name, 0.0))):
            width = scale * share / top
            elements.append(
                f'<rect class="bar{row}" x="{_NAMES}" y="{y + 8 * row}" width="{width:.1f}" height="7"/>'
                + text(_NAMES + width + 4, y + 8 * row + 7, f"{100 * share:.0f} %", "start", "small")
            )
    return svg(elements, 8 + _ROW * len(reference))


def _y(share: float) -> float:
    return _BOTTOM - (_BOTTOM - _TOP) * share
