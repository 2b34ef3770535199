"""What each plot shows, without a word about the library that draws it."""

import math
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass

from genreflow.reporting.study.rows import Row

INK = "ink"  # the colour of the text, which depends on the ground
LOG_FROM = 8  # highest over lowest value above which costs stand on a logarithmic axis


@dataclass(frozen=True, kw_only=True)
class Series:
    """Points, lines, or both, of trials that look alike.

    Parameters
    ----------
    x, y : sequence of float or None
        None lifts the pen.
    texts : sequence of str
        Lines on each point, parted by newlines; empty if there is nothing to tell.
    colour : str
        ``#rrggbb`` or `INK`.
    symbol : str
        As in `genreflow.reporting.study.rows.OUTCOMES`, or ``star``; empty for none.
    line : {"", "solid", "dot", "steps"}
        ``steps`` stay level until the next point.
    size : float > 0 [px]
    width : float > 0 [px]
    opacity : float in (0, 1]
    architecture, outcome : str
        Of its trials; empty if they have nothing to do with it.
    ring : bool
        Whether the symbol stands in a circle of `INK`.
    """

    x: Sequence[float | None]
    y: Sequence[float | None]
    texts: Sequence[str] = ()
    colour: str = INK
    symbol: str = ""
    line: str = ""
    size: float = 8
    width: float = 1.5
    opacity: float = 1.0
    architecture: str = ""
    outcome: str = ""
    ring: bool = False


@dataclass(frozen=True, kw_only=True)
class Panel:
    """A pair of axes.

    Parameters
    ----------
    x_title, y_title : str
    series : sequence of Series
    log_x : bool
    bars : dict of str to float
        Horizontal bars instead of `series`, the longest first.
    """

    x_title: str
    y_title: str = ""
    series: Sequence[Series] = ()
    log_x: bool = False
    bars: dict[str, float] | None = None

    @property
    def span(self) -> tuple[float, float]:
        """The lowest and the highest x."""
        values = [x for series in self.series for x in series.x if x is not None]
        return min(values), max(values)


@dataclass(frozen=True, kw_only=True)
class Axis:
    """One of the parallel axes.

    Parameters
    ----------
    title : str
    places : sequence of float in [0, 1] or None
        Of each trial; None where it has no such value.
    ticks : sequence of (float in [0, 1], str)
    """

    title: str
    places: Sequence[float | None]
    ticks: Sequence[tuple[float, str]]


@dataclass(frozen=True, kw_only=True)
class Chart:
    """One plot with what stands around it.

    Parameters
    ----------
    key : str
        Name of its PNG.
    title : str
    reading : str
        A sentence on how to read it, or why there is nothing to draw.
    panels : sequence of Panel
        Beside each other; empty if there is nothing to draw.
    axes : sequence of Axis
        Parallel axes instead.
    rows : sequence of Row
        The trials on `axes`.
    ring : str
        What a ring around a symbol says; empty if there is none.
    """

    key: str
    title: str
    reading: str
    panels: Sequence[Panel] = ()
    axes: Sequence[Axis] = ()
    rows: Sequence[Row] = ()
    ring: str = ""

    @property
    def empty(self) -> bool:
        return not (self.panels or self.axes)


def number(value: float) -> str:
    """A figure in the fewest letters: 0.815, 12.3, 2.4 M."""
    for least, scale, unit in ((9.995e8, 1e9, " G"), (9.995e5, 1e6, " M"), (9.9995e3, 1e3, " k")):
        if abs(value) >= least:
            return f"{value / scale:.3g}{unit}"
    return f"{value:.4g}"


def numbers(values: Sequence[float]) -> list[str]:
    """Figures beside each other: as short as they can be told apart."""
    words = [number(value) for value in values]
    return words if len(set(words)) == len(words) else [f"{value:.10g}" for value in values]


def ticks(low: float, high: float, *, log: bool) -> list[float]:
    """Round numbers from `low` to `high`; the ends where there are fewer than two."""
    if log:
        powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
        decades = [10.0**power for power in powers if low <= 10.0**power <= high]
        thirds = [step for power in powers for step in (10.0**power, 3 * 10.0**power) if low <= step <= high]
        marks = decades if len(decades) > 2 else thirds
    else:
        span = (high - low) / 4 or 1.0
        unit = 10.0 ** math.floor(math.log10(span))
        step = min((digit * unit for digit in (1, 2, 5, 10)), key=lambda step: abs(step - span))
        marks = [n * step for n in range(math.ceil(low / step), math.floor(high / step) + 1)]
    return marks if len(marks) > 1 else sorted({low, high})


def wrapped(words: str, joint: str = "\n") -> str:
    """`words` in lines that fit above an axis."""
    return joint.join(textwrap.wrap(words, 15))


# Where the part before the dot matters, or a unit is missing.
_SPOKEN = {"segments.seconds": "segment length [s]", "segments.coefficients": "MFCC coefficients"}


def spoken(name: str) -> str:
    """A hyperparameter as people say it: ``train.batch_size`` is the batch size."""
    return _SPOKEN.get(name) or name.removeprefix("train.").replace("_", " ").replace(".", " ")
