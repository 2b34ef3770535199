"""A study as one interactive page that asks no other host for anything."""

import html
from collections import Counter
from collections.abc import Sequence
from importlib import resources
from pathlib import Path

from genreflow.files import write_text
from genreflow.reporting.study.charts import INK, Chart, Panel, Series, number, numbers, ticks, wrapped
from genreflow.reporting.study.rows import OUTCOMES, Objective, Row, known_costs

# What stands for a colour of the page, which depends on light or dark: the page puts it in.
_INK, _QUIET, _LINE, _CARD = "@ink", "@quiet", "@line", "@card"
_SIGNS = {
    "complete": "●",
    "pruned": "✕",
    "infeasible": "◇",
    "failed": "▽",
    "interrupted": "△",
    "running": "□",
    "waiting": "✚",
}


def write_page(
    path: Path, charts: Sequence[Chart], rows: Sequence[Row], objectives: Sequence[Objective], *, name: str, mark: str
) -> None:
    """Write the page of a study.

    Parameters
    ----------
    path : Path
    charts : sequence of Chart
    rows : sequence of Row
    objectives : sequence of Objective
    name : str
        Of the study.
    mark : str
        Before titles.
    """
    import jinja2
    from plotly.offline import get_plotlyjs

    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {"number": number, "capital": lambda words: words[:1].upper() + words[1:]}
    template = environment.from_string(resources.files(__package__).joinpath("page.html.j2").read_text("utf-8"))
    counts = Counter(row.outcome for row in rows)
    text = template.render(
        name=name,
        mark=mark,
        charts=[(chart, figures(chart)) for chart in charts],
        rows=rows,
        chosen=next((row for row in rows if row.chosen), None),
        figures=[*objectives[:1], *known_costs(rows, objectives)],
        counts={outcome: counts[outcome] for outcome in OUTCOMES if outcome in counts},
        signs=_SIGNS,
        architectures={row.architecture: row.colour for row in rows if row.architecture},
        plotly="@plotly@",
    )
    # Five megabytes that no template engine need look at.
    write_text(path, text.replace("@plotly@", get_plotlyjs(), 1))


def figures(chart: Chart) -> list[dict]:
    """What Plotly draws of a chart: a figure for each pair of axes, ready for JSON."""
    if chart.axes:
        return [_parallel(chart)]
    return [_bars(panel) if panel.bars is not None else _figure(panel) for panel in chart.panels]


def _figure(panel: Panel) -> dict:
    layout = _layout(panel.x_title, height=420)
    layout["yaxis"] |= {"title": {"text": panel.y_title, "standoff": 8}}
    if panel.log_x:
        marks = ticks(*panel.span, log=True)
        layout["xaxis"] |= {"type": "log", "tickvals": marks, "ticktext": numbers(marks)}
    elif panel.x_title in ("Trial", "Epoch"):
        layout["xaxis"] |= {"tickformat": "d"} | ({"dtick": 1} if panel.span[1] < 8 else {})  # else it counts in halves
    return {"data": [_trace(series) for series in panel.series], "layout": layout}


def _trace(series: Series) -> dict:
    colour = _INK if series.colour == INK else series.colour
    edge = _INK if series.ring else colour if series.symbol == "x-thin" or series.symbol.endswith("-open") else _CARD
    return {
        "type": "scatter",
        "mode": "+".join(filter(None, ("lines" if series.line else "", "markers" if series.symbol else ""))),
        "x": list(series.x),
        "y": list(series.y),
        "text": [html.escape(text).replace("\n", "<br>") for text in series.texts],
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
            "line": {"color": edge, "width": 2 if series.ring or edge == colour else 1},
        },
        "meta": {"architecture": series.architecture, "outcome": series.outcome},
    }


def _bars(panel: Panel) -> dict:
    layout = _layout(panel.x_title, height=110 + 30 * len(panel.bars))
    layout["xaxis"] |= {"tickformat": ".0%", "range": [0, max(panel.bars.values()) * 1.12]}
    layout["yaxis"] |= {"autorange": "reversed", "showgrid": False, "ticksuffix": "  "}
    shares = list(panel.bars.values())
    trace = {
        "type": "bar",
        "orientation": "h",
        "x": shares,
        "y": list(panel.bars),
        "text": [f"{share:.0%}" if share >= 0.01 else "< 1%" for share in shares],
        "textposition": "outside",
        "cliponaxis": False,
        "marker": {"color": "#0072b2"},
        "hoverinfo": "skip",
        "meta": {"architecture": "", "outcome": ""},
    }
    return {"data": [trace], "layout": layout}


def _parallel(chart: Chart) -> dict:
    colours = list(dict.fromkeys(row.colour for row in chart.rows))
    steps = len(colours)
    scale = [[edge / steps, colour] for n, colour in enumerate(colours) for edge in (n, n + 1)]
    nowhere = -0.1
    front = chart.ring or "complete"
    endings = ["chosen" if row.chosen else front if row.front else row.outcome for row in chart.rows]
    outcomes = [of for of in (*reversed(OUTCOMES), chart.ring, "chosen") if of in endings]  # the best one on top
    dimensions = [
        {
            "label": wrapped(axis.title, "<br>"),
            "values": [nowhere if place is None else place for place in axis.places],
            "range": [nowhere if None in axis.places else -0.02, 1.02],
            "tickvals": [*([nowhere] if None in axis.places else []), *(place for place, _ in axis.ticks)],
            "ticktext": [*(["none"] if None in axis.places else []), *(words for _, words in axis.ticks)],
        }
        for axis in chart.axes
    ]
    if len(outcomes) > 1:  # neither dashes nor symbols on these lines
        dimensions.insert(
            len(dimensions) - 1,
            {
                "label": "outcome",
                "values": [outcomes.index(ending) for ending in endings],
                "range": [-0.5, len(outcomes) - 0.5],
                "tickvals": list(range(len(outcomes))),
                "ticktext": outcomes,
            },
        )
    trace = {
        "type": "parcoords",
        "line": {
            "color": [colours.index(row.colour) + 0.5 for row in chart.rows],
            "colorscale": scale,
            "cmin": 0,
            "cmax": steps,
        },
        "dimensions": dimensions,
        "labelfont": {"color": _INK, "size": 12},
        "tickfont": {"color": _INK, "size": 11},
        "rangefont": {"color": "rgba(0,0,0,0)", "size": 1},
        "unselected": {"line": {"color": _LINE, "opacity": 0.5}},
        "meta": {
            "architectures": [row.architecture for row in chart.rows],
            "outcomes": [row.outcome for row in chart.rows],
        },
    }
    layout = {
        "height": 520,
        "margin": {"l": 80, "r": 60, "t": 80, "b": 20},
        "paper_bgcolor": "rgba(0,0,0,0)",
        "font": {"family": "system-ui, sans-serif"},
    }
    return {"data": [trace], "layout": layout}


def _layout(x_title: str, *, height: int) -> dict:
    axis = {"gridcolor": _LINE, "zeroline": False, "automargin": True, "tickcolor": _LINE, "linecolor": _LINE}
    return {
        "height": height,
        "margin": {"l": 12, "r": 12, "t": 8, "b": 12},
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "font": {"family": "system-ui, sans-serif", "size": 12, "color": _INK},
        "hoverlabel": {"bgcolor": _CARD, "bordercolor": _QUIET, "font": {"color": _INK}, "align": "left"},
        "hovermode": "closest",
        "modebar": {"bgcolor": "rgba(0,0,0,0)", "color": _QUIET, "activecolor": _INK},
        "showlegend": False,
        "xaxis": axis | {"title": {"text": x_title.replace("\n", "<br>"), "standoff": 8}},
        "yaxis": dict(axis),
    }
