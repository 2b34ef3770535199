"""A study as one interactive page that makes no network requests."""

import html
from collections import Counter
from importlib import resources
from pathlib import Path

from genreflow.files import write_text
from genreflow.reporting.study.charts import TEXT_COLOUR, Chart, Panel, Series
from genreflow.reporting.study.data import STATES, Study
from genreflow.reporting.study.formatting import axis_ticks, format_number, format_numbers, wrap
from genreflow.reporting.study.parallel import parallel_coordinates
from genreflow.reporting.study.views import history, importance, learning_curves, trade_off

# Placeholders that the page replaces with its colours, which differ between light and dark mode.
_TEXT, _MUTED, _LINE, _CARD = "@text", "@muted", "@line", "@card"
_SYMBOLS = {
    "finished": "●",
    "pruned": "✕",
    "infeasible": "◇",
    "failed": "▽",
    "interrupted": "△",
    "running": "□",
    "waiting": "✚",
}
# Position on a parallel axis of a trial that has no such value.
_NO_VALUE = -0.1


def write_page(path: Path, study: Study) -> None:
    """Write the page of a study.

    Parameters
    ----------
    path : Path
        Of the HTML file.
    study : Study
    """
    import jinja2
    from plotly.offline import get_plotlyjs

    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {"number": format_number, "capitalised": lambda text: text[:1].upper() + text[1:]}
    template = environment.from_string(resources.files(__package__).joinpath("page.html.j2").read_text("utf-8"))
    counts = Counter(trial.state for trial in study.trials)
    text = template.render(
        study=study,
        charts=[(chart, figures(chart)) for chart in draw_charts(study)],
        chosen=next((trial for trial in study.trials if trial.chosen), None),
        columns=[study.objectives[0], *study.costs],
        counts={state: counts[state] for state in STATES if state in counts},
        symbols=_SYMBOLS,
        architectures={trial.architecture: trial.colour for trial in study.trials if trial.architecture},
        plotly="@plotly@",
    )
    # Inserted afterwards: rendering five megabytes as a template variable would escape them.
    write_text(path, text.replace("@plotly@", get_plotlyjs(), 1))


def draw_charts(study: Study) -> list[Chart]:
    """Return the plots of the page, in its order."""
    return [history(study), trade_off(study), learning_curves(study), importance(study), parallel_coordinates(study)]


def figures(chart: Chart) -> list[dict]:
    """Return the Plotly figures of a chart, one for each panel, ready for JSON."""
    if chart.axes:
        return [_parallel_figure(chart)]
    return [_bar_figure(panel) if panel.bars is not None else _xy_figure(panel) for panel in chart.panels]


def _xy_figure(panel: Panel) -> dict:
    layout = _layout(panel.x_title, height=420)
    layout["yaxis"] |= {"title": {"text": panel.y_title, "standoff": 8}}
    if panel.log_x:
        ticks = axis_ticks(*panel.x_range, log=True)
        layout["xaxis"] |= {"type": "log", "tickvals": ticks, "ticktext": format_numbers(ticks)}
    elif panel.integer_x:
        # Plotly would put ticks at halves on a short axis.
        layout["xaxis"] |= {"tickformat": "d"} | ({"dtick": 1} if panel.x_range[1] < 8 else {})
    return {"data": [_trace(series) for series in panel.series], "layout": layout}


def _trace(series: Series) -> dict:
    colour = _TEXT if series.colour == TEXT_COLOUR else series.colour
    hollow = series.symbol == "x-thin" or series.symbol.endswith("-open")
    edge = _TEXT if series.outlined else colour if hollow else _CARD
    return {
        "type": "scatter",
        "mode": "+".join(filter(None, ("lines" if series.line else "", "markers" if series.symbol else ""))),
        "x": list(series.x),
        "y": list(series.y),
        "text": [html.escape(text).replace("\n", "<br>") for text in series.hover],
        "hovertemplate": "%{text}<extra></extra>",
        "opacity": series.opacity,
        "line": {
            "color": colour,
            "width": series.width,
            "dash": "dot" if series.line == "dot" else "solid",
            "shape": "hv" if series.line == "steps" else "linear",
        },
        "marker": {
            "symbol": series.symbol or "circle",
            "size": series.size,
            "color": colour,
            "line": {"color": edge, "width": 2 if series.outlined or edge == colour else 1},
        },
        "meta": {"architecture": series.architecture, "state": series.state},
    }


def _bar_figure(panel: Panel) -> dict:
    bars = panel.bars or {}
    shares = list(bars.values())
    layout = _layout(panel.x_title, height=110 + 30 * len(bars))
    layout["xaxis"] |= {"tickformat": ".0%", "range": [0, max(shares) * 1.12]}
    layout["yaxis"] |= {"autorange": "reversed", "showgrid": False, "ticksuffix": "  "}
    trace = {
        "type": "bar",
        "orientation": "h",
        "x": shares,
        "y": list(bars),
        "text": [f"{share:.0%}" if share >= 0.01 else "< 1%" for share in shares],
        "textposition": "outside",
        "cliponaxis": False,
        "marker": {"color": "#0072b2"},
        "hoverinfo": "skip",
        "meta": {"architecture": "", "state": ""},
    }
    return {"data": [trace], "layout": layout}


def _parallel_figure(chart: Chart) -> dict:
    colours = list(dict.fromkeys(trial.colour for trial in chart.trials))
    steps = len(colours)
    trace = {
        "type": "parcoords",
        "line": {
            "color": [colours.index(trial.colour) + 0.5 for trial in chart.trials],
            "colorscale": [[edge / steps, colour] for n, colour in enumerate(colours) for edge in (n, n + 1)],
            "cmin": 0,
            "cmax": steps,
        },
        "dimensions": _dimensions(chart),
        "labelfont": {"color": _TEXT, "size": 12},
        "tickfont": {"color": _TEXT, "size": 11},
        "rangefont": {"color": "rgba(0,0,0,0)", "size": 1},
        "unselected": {"line": {"color": _LINE, "opacity": 0.5}},
        "meta": {
            "architectures": [trial.architecture for trial in chart.trials],
            "states": [trial.state for trial in chart.trials],
        },
    }
    layout = {
        "height": 520,
        "margin": {"l": 80, "r": 60, "t": 80, "b": 20},
        "paper_bgcolor": "rgba(0,0,0,0)",
        "font": {"family": "system-ui, sans-serif"},
    }
    return {"data": [trace], "layout": layout}


def _dimensions(chart: Chart) -> list[dict]:
    dimensions = []
    for axis in chart.axes:
        gaps = None in axis.positions
        ticks = [*([(_NO_VALUE, "none")] if gaps else []), *axis.ticks]
        dimensions.append(
            {
                "label": wrap(axis.title),
                "values": [_NO_VALUE if position is None else position for position in axis.positions],
                "range": [_NO_VALUE if gaps else -0.02, 1.02],
                "tickvals": [position for position, _ in ticks],
                "ticktext": [text for _, text in ticks],
            }
        )
    # These lines have neither dashes nor markers, so that the state has an axis of its own, before the accuracy's.
    optimal = chart.outline or "finished"
    states = ["chosen" if trial.chosen else optimal if trial.pareto_optimal else trial.state for trial in chart.trials]
    order = [state for state in (*reversed(STATES), chart.outline, "chosen") if state in states]
    if len(order) > 1:
        state_axis = {
            "label": "state",
            "values": [order.index(state) for state in states],
            "range": [-0.5, len(order) - 0.5],
            "tickvals": list(range(len(order))),
            "ticktext": order,
        }
        dimensions.insert(len(dimensions) - 1, state_axis)
    return dimensions


def _layout(x_title: str, *, height: int) -> dict:
    axis = {"gridcolor": _LINE, "zeroline": False, "automargin": True, "tickcolor": _LINE, "linecolor": _LINE}
    return {
        "height": height,
        "margin": {"l": 12, "r": 12, "t": 8, "b": 12},
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "font": {"family": "system-ui, sans-serif", "size": 12, "color": _TEXT},
        "hoverlabel": {"bgcolor": _CARD, "bordercolor": _MUTED, "font": {"color": _TEXT}, "align": "left"},
        "hovermode": "closest",
        "modebar": {"bgcolor": "rgba(0,0,0,0)", "color": _MUTED, "activecolor": _TEXT},
        "showlegend": False,
        "xaxis": axis | {"title": {"text": x_title, "standoff": 8}},
        "yaxis": dict(axis),
    }
