"""The plots as PNG, through matplotlib."""

from collections.abc import Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import EngFormatter, FuncFormatter, MaxNLocator, ScalarFormatter
from matplotlib.transforms import blended_transform_factory

from genreflow.reporting.study.charts import INK, Chart, Panel, Series, numbers, ticks, wrapped
from genreflow.reporting.study.rows import OUTCOMES, Row

_INK, _QUIET, _LINE, _GROUND = "#1b1f27", "#5d6675", "#dfe3ea", "#ffffff"
_MARKERS = {
    "circle": "o",
    "x-thin": "x",
    "diamond-open": "D",
    "triangle-down-open": "v",
    "triangle-up-open": "^",
    "square-open": "s",
    "cross-open": "P",
    "star": "*",
}
_DASHES = {"solid": "-", "dot": (0, (1.5, 1.5)), "steps": "-"}
_DPI = 150
_PX = 0.72  # points of a pixel that Series speaks of
_NOWHERE = -0.09  # where a line passes an axis on which its trial has no value


def draw(chart: Chart, rows: Sequence[Row], path: Path) -> None:
    """Draw a chart that is not empty.

    Parameters
    ----------
    chart : Chart
    rows : sequence of Row
        All trials, which the legend names.
    path : Path
        Of the PNG.
    """
    if chart.axes:
        figure = Figure(figsize=(max(8.0, 1.15 * len(chart.axes)), 5.6), dpi=_DPI, layout="constrained")
        _parallel(figure.subplots(), chart)
    elif chart.panels[0].bars is not None:
        figure = Figure(figsize=(8, 1.3 + 0.36 * len(chart.panels[0].bars)), dpi=_DPI, layout="constrained")
        _bars(figure.subplots(), chart.panels[0])
    else:
        width = {1: 9.0}.get(len(chart.panels), 5.6 * len(chart.panels))
        figure = Figure(figsize=(width, 5.4), dpi=_DPI, layout="constrained")
        axes = figure.subplots(1, len(chart.panels), squeeze=False)[0]
        for of, panel in zip(axes, chart.panels, strict=True):
            _panel(of, panel, titled=of is axes[0])
    figure.set_facecolor(_GROUND)
    figure.suptitle(chart.title[:1].upper() + chart.title[1:], x=0.012, ha="left", weight="bold", size=12, color=_INK)
    if chart.axes or chart.panels[0].bars is None:
        _legend(figure, chart, rows)
    figure.savefig(path, metadata={"Software": None})


def _plain(axes: Axes) -> None:
    axes.set_facecolor(_GROUND)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(_LINE)
    axes.tick_params(colors=_QUIET, labelsize=9)
    axes.xaxis.label.set_color(_INK)
    axes.yaxis.label.set_color(_INK)


def _panel(axes: Axes, panel: Panel, *, titled: bool) -> None:
    _plain(axes)
    axes.grid(color=_LINE, linewidth=0.8)
    axes.set_axisbelow(True)
    for order, series in enumerate(panel.series):
        _series(axes, series, order)
    axes.set_xlabel(panel.x_title)
    if titled:
        axes.set_ylabel(panel.y_title)
    axes.yaxis.set_major_formatter(ScalarFormatter(useOffset=False))
    if panel.log_x:
        axes.set_xscale("log")
        marks = ticks(*panel.span, log=True)
        axes.set_xticks(marks, numbers(marks))
        axes.set_xticks([], minor=True)
    else:
        whole = panel.x_title in ("Trial", "Epoch")
        large = panel.span[1] >= 1e4
        axes.xaxis.set_major_locator(MaxNLocator(8, integer=whole, steps=[1, 2, 5, 10]))
        axes.xaxis.set_major_formatter(EngFormatter() if large else ScalarFormatter(useOffset=False))


def _series(axes: Axes, series: Series, order: int) -> None:
    colour = _INK if series.colour == INK else series.colour
    x = [float("nan") if of is None else of for of in series.x]
    y = [float("nan") if of is None else of for of in series.y]
    shared = {"color": colour, "alpha": series.opacity, "zorder": 3 + 0.01 * order}
    if series.line:
        style = "steps-post" if series.line == "steps" else "default"
        axes.plot(x, y, linestyle=_DASHES[series.line], linewidth=series.width * _PX, drawstyle=style, **shared)
    if series.symbol:
        hollow = series.symbol.endswith("-open")
        edge = _INK if series.ring else colour if hollow or series.symbol == "x-thin" else _GROUND
        axes.plot(
            x,
            y,
            linestyle="",
            marker=_MARKERS[series.symbol],
            markersize=series.size * _PX * (1.2 if series.symbol == "star" else 1),
            markerfacecolor="none" if hollow else colour,
            markeredgecolor=edge,
            markeredgewidth=1.3 if series.ring or edge == colour else 0.6,
            **shared | {"zorder": shared["zorder"] + 1},
        )


def _bars(axes: Axes, panel: Panel) -> None:
    _plain(axes)
    names, shares = list(panel.bars), list(panel.bars.values())
    drawn = axes.barh(names, shares, color="#0072b2", height=0.65)
    axes.bar_label(drawn, [f"{share:.0%}" if share >= 0.01 else "< 1%" for share in shares], padding=4, color=_INK)
    axes.invert_yaxis()
    axes.set_xlabel(panel.x_title)
    axes.set_xlim(0, max(shares) * 1.1)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.0%}"))
    axes.tick_params(axis="y", length=0, colors=_INK, labelsize=10)
    axes.spines["left"].set_visible(False)


def _parallel(axes: Axes, chart: Chart) -> None:
    places = list(range(len(chart.axes)))
    axes.set_xlim(-0.25, len(places) - 0.35)
    axes.set_ylim(_NOWHERE - 0.03 if any(None in axis.places for axis in chart.axes) else -0.02, 1.01)
    axes.axis("off")
    order = sorted(range(len(chart.rows)), key=lambda n: (chart.rows[n].chosen, chart.rows[n].front))
    for n in order:
        row = chart.rows[n]
        heights = [_NOWHERE if axis.places[n] is None else axis.places[n] for axis in chart.axes]
        if row.chosen:
            axes.plot(places, heights, color=_INK, linewidth=4.4, zorder=4)
        bold = row.chosen or row.front
        axes.plot(
            places,
            heights,
            color=row.colour,
            linestyle="-" if row.outcome == "complete" else _DASHES["dot"],
            linewidth=2.6 if row.chosen else 1.8 if bold else 1.1,
            alpha=1 if bold else 0.5,
            zorder=5 if row.chosen else 3,
        )
    data_above = blended_transform_factory(axes.transData, axes.transAxes)
    halo = {"boxstyle": "round,pad=0.12", "facecolor": _GROUND, "edgecolor": "none", "alpha": 0.82}
    for x, axis in enumerate(chart.axes):
        axes.plot([x, x], [0, 1], color=_QUIET, linewidth=1, zorder=6)
        axes.text(
            x,
            1.02,
            wrapped(axis.title),
            transform=data_above,
            ha="center",
            va="bottom",
            size=9,
            weight="bold",
            color=_INK,
        )
        for place, words in axis.ticks:
            axes.plot([x - 0.03, x + 0.03], [place, place], color=_QUIET, linewidth=1, zorder=6)
            axes.text(x + 0.06, place, wrapped(words), ha="left", va="center", size=8, color=_INK, bbox=halo, zorder=7)
        if any(place is None for place in axis.places):
            axes.text(x + 0.06, _NOWHERE, "none", ha="left", va="center", size=8, color=_QUIET, bbox=halo, zorder=7)


def _legend(figure: Figure, chart: Chart, rows: Sequence[Row]) -> None:
    """Colours of the architectures and symbols of the outcomes, below the axes."""
    drawn = chart.rows or rows
    seen = {(row.architecture, row.colour): None for row in drawn if row.architecture and row.values}
    handles = [Line2D([], [], color=colour, linewidth=5, label=name) for name, colour in seen]
    grey = {"color": _QUIET, "markeredgecolor": _QUIET, "markersize": 7}
    for outcome, symbol in OUTCOMES.items():
        if not any(row.outcome == outcome for row in drawn):
            continue
        if chart.axes:
            dash = "-" if outcome == "complete" else _DASHES["dot"]
            handles.append(Line2D([], [], color=_QUIET, linestyle=dash, label=outcome))
        elif outcome in _shown(chart):
            face = "none" if symbol.endswith("-open") else _QUIET
            handles.append(
                Line2D([], [], linestyle="", marker=_MARKERS[symbol], markerfacecolor=face, label=outcome, **grey)
            )
    if chart.ring and chart.axes:
        handles.append(Line2D([], [], color=_QUIET, linewidth=2.2, label=chart.ring))
    elif chart.ring:
        ring = grey | {"markersize": 9, "markeredgecolor": _INK, "markeredgewidth": 1.5}
        handles.append(Line2D([], [], linestyle="", marker="o", label=chart.ring, **ring))
    if any(row.chosen for row in drawn):
        if chart.axes:
            handles.append(Line2D([], [], color=_INK, linewidth=4, label="chosen"))
        else:
            handles.append(Line2D([], [], linestyle="", marker="*", label="chosen", **grey | {"markersize": 12}))
    columns = 6
    handles = [handle for n in range(columns) for handle in handles[n::columns]]  # matplotlib fills column by column
    figure.legend(handles=handles, loc="outside lower left", ncols=columns, frameon=False, fontsize=9, labelcolor=_INK)


def _shown(chart: Chart) -> set[str]:
    return {series.outcome for panel in chart.panels for series in panel.series}
