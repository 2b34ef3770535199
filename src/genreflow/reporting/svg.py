"""SVG elements in the page's colours."""

import math
from collections.abc import Sequence

from markupsafe import escape

# Lengths are in units of the picture, which are pixels at its natural size.
WIDTH, LEFT, RIGHT, AXIS = 360, 30, 10, 18


def svg(elements: Sequence[str], height: float) -> str:
    """Return a picture of `WIDTH` x `height` units."""
    return f'<svg viewBox="0 0 {WIDTH} {height}" xmlns="http://www.w3.org/2000/svg">{"".join(elements)}</svg>'


def text(x: float, y: float, content: str, anchor: str, css: str = "tick") -> str:
    """Return a text at (x, y); `anchor` is ``start``, ``middle`` or ``end``."""
    return f'<text class="{css}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(content)}</text>'


def round_values(low: float, high: float, *, most: int, steps: Sequence[float] = ()) -> list[float]:
    """Return at most about `most` multiples of a round number between `low` and `high`.

    Parameters
    ----------
    low, high : float
        low < high.
    most : int > 0
    steps : sequence of float, optional
        The round numbers, in ascending order; by default 1, 2 and 5 times the powers of ten.
    """
    span = high - low
    unit = 10.0 ** math.floor(math.log10(span / most))
    steps = steps or [digit * unit for digit in (1, 2, 5, 10)]
    step = next((step for step in steps if span / step <= most), span)
    return [n * step for n in range(math.ceil(low / step), math.floor(high / step) + 1)]
