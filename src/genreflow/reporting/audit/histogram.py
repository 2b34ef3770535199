"""Histograms as SVG."""

import math
from collections.abc import Mapping, Sequence

import numpy as np

from genreflow.reporting.svg import AXIS, LEFT, RIGHT, WIDTH, round_values, svg, text

_HEIGHT, _TOP, _BINS = 170, 22, 40
# The count is logarithmic, which makes single outliers visible; the bar of a single track needs a lower limit below 1.
_LOWEST_COUNT = 0.7


def histogram(values: Mapping[str, Sequence[float]], *, unit: str) -> str:
    """Draw the distribution of one or two quantities over the tracks, with a logarithmic count.

    Parameters
    ----------
    values : mapping of str to sequence of float
        One or two quantities by name; both have values.
    unit : str
        Label of the horizontal axis.

    Returns
    -------
    svg : str
    """
    edges = np.histogram_bin_edges(np.concatenate([np.asarray(quantity) for quantity in values.values()]), _BINS)
    counts = {name: np.histogram(quantity, edges)[0] for name, quantity in values.items()}
    bottom, right = _HEIGHT - 2 * AXIS, WIDTH - RIGHT
    decades = math.log10(max(count.max() for count in counts.values()) * 1.1 / _LOWEST_COUNT)

    def x(value: float) -> float:
        return LEFT + (right - LEFT) * (value - edges[0]) / (edges[-1] - edges[0])

    def y(count: float) -> float:
        return bottom - (bottom - _TOP) * math.log10(count / _LOWEST_COUNT) / decades

    elements = [f'<path class="axis" d="M{LEFT} {_TOP}V{bottom}H{right}"/>', text(LEFT, 12, "tracks", "start")]
    for power in range(math.floor(decades + math.log10(_LOWEST_COUNT)) + 1):
        height = y(10**power)
        elements.append(f'<path d="M{LEFT - 3} {height:.1f}h3"/>' + text(LEFT - 5, height + 3.5, f"{10**power}", "end"))
    for series, count in enumerate(counts.values()):
        bars = "".join(
            f"M{x(left):.1f} {bottom}V{y(n):.1f}H{x(end):.1f}V{bottom}"
            for n, left, end in zip(count, edges[:-1], edges[1:], strict=True)
            if n
        )
        elements.append(f'<path class="series{series}" d="{bars}"/>')
    for value in round_values(edges[0], edges[-1], most=8):
        elements.append(f'<path d="M{x(value):.1f} {bottom}v3"/>' + text(x(value), bottom + 14, f"{value:g}", "middle"))
    elements.append(text((LEFT + right) / 2, _HEIGHT - 4, unit, "middle"))
    if len(counts) > 1:
        for series, name in enumerate(counts):
            left = right - 90 + 45 * series
            elements.append(f'<rect class="series{series}" x="{left}" y="4" width="9" height="9"/>')
            elements.append(text(left + 13, 12, name, "start"))
    return svg(elements, _HEIGHT)
