"""What each plot of a study shows, independent of Plotly, so that tests can read it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from genreflow.reporting.study.data import Trial

TEXT_COLOUR = "text"  # the page's text colour, which differs between light and dark mode
# Ratio of the highest to the lowest cost above which an axis is logarithmic.
LOG_RATIO = 8


@dataclass(frozen=True, kw_only=True)
class Series:
    """Points, lines or both, of trials drawn in the same style.

    Parameters
    ----------
    x, y : sequence of float or None
        None interrupts the line.
    hover : sequence of str
        Text of each point, with newlines; empty for none.
    colour : str
        ``#rrggbb`` or `TEXT_COLOUR`.
    symbol : str
        A value of `genreflow.reporting.study.data.STATES`, or ``star``; empty for no markers.
    line : {"", "solid", "dot", "steps"}
        ``steps`` are horizontal up to the next point.
    size : float > 0 [px]
        Of the markers.
    width : float > 0 [px]
        Of the line.
    opacity : float in (0, 1]
    architecture, state : str
        Of its trials; empty if the series does not belong to particular trials.
    outlined : bool
        Whether the markers have an outline in `TEXT_COLOUR`.
    """

    x: Sequence[float | None]
    y: Sequence[float | None]
    hover: Sequence[str] = ()
    colour: str = TEXT_COLOUR
    symbol: str = ""
    line: str = ""
    size: float = 8
    width: float = 1.5
    opacity: float = 1.0
    architecture: str = ""
    state: str = ""
    outlined: bool = False


@dataclass(frozen=True, kw_only=True)
class Panel:
    """A pair of axes.

    Parameters
    ----------
    x_title, y_title : str
    series : sequence of Series
        The later ones are drawn on top.
    log_x : bool
    integer_x : bool
        Whether x counts something.
    bars : dict of str to float, optional
        Horizontal bars instead of `series`, from top to bottom.
    """

    x_title: str
    y_title: str = ""
    series: Sequence[Series] = ()
    log_x: bool = False
    integer_x: bool = False
    bars: Mapping[str, float] | None = None

    @property
    def x_range(self) -> tuple[float, float]:
        """The lowest and the highest x of all series."""
        values = [x for series in self.series for x in series.x if x is not None]
        return min(values), max(values)


@dataclass(frozen=True, kw_only=True)
class Axis:
    """One of several parallel axes.

    Parameters
    ----------
    title : str
    positions : sequence of float in [0, 1] or None
        Of each trial; None if it has no such value.
    ticks : sequence of (float in [0, 1], str)
    """

    title: str
    positions: Sequence[float | None]
    ticks: Sequence[tuple[float, str]]


@dataclass(frozen=True, kw_only=True)
class Chart:
    """A plot with its title and explanation.

    Parameters
    ----------
    key : str
        ID of its section in the page.
    title : str
    explanation : str
        How to read it, or why it is empty.
    panels : sequence of Panel
        Next to each other; empty if there is nothing to draw.
    axes : sequence of Axis
        Parallel axes instead of `panels`.
    trials : sequence of Trial
        Those on `axes`.
    outline : str
        What the outline of a marker means; empty if no marker has one.
    """

    key: str
    title: str
    explanation: str
    panels: Sequence[Panel] = ()
    axes: Sequence[Axis] = ()
    trials: Sequence[Trial] = ()
    outline: str = ""

    @property
    def empty(self) -> bool:
        return not (self.panels or self.axes)
