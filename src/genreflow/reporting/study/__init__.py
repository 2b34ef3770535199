"""The plots of a study: one interactive page, a PNG of each, and the Pareto front as a table.

Optuna's own plots show neither architecture nor pruned trials, give each conditional hyperparameter an axis of its own
(22 of them in a search over three architectures), and its matplotlib ones are experimental; so these are drawn here, in
one set of colours, from the same description for Plotly and for matplotlib.
"""

from collections.abc import Sequence
from pathlib import Path

import optuna

from genreflow.files import atomic_directory, write_csv
from genreflow.reporting.study.rows import Objective, Row, read_trials

__all__ = ["Objective", "draw_study"]

PAGE, FRONT = "study.html", "pareto_front.csv"


def draw_study(
    study: optuna.Study,
    folder: Path,
    *,
    objectives: Sequence[Objective],
    front: Sequence[int],
    chosen: int | None,
    mark: str = "",
) -> list[Path]:
    """Draw a study into a folder, which is made anew and then replaces what was there.

    Parameters
    ----------
    study : optuna.Study
        Its first objective is the track accuracy. Of its trials are read the user attributes ``architecture``,
        ``val_track_accuracy_by_epoch``, ``parameters``, ``latency_ms``, ``memory_mb``, ``infeasible`` and
        ``interrupted``, as far as they are there, and Optuna's constraints.
    folder : Path
    objectives : sequence of Objective
        In the order of the study's directions.
    front : sequence of int
        Numbers of the Pareto-optimal trials within all limits; of one objective, the best trial's.
    chosen : int or None
        Number of the trial that is trained.
    mark : str
        Before every title: ``"leaking "`` if the split leaks.

    Returns
    -------
    paths : list of Path
        ``study.html``, ``pareto_front.csv``, and of ``history.png``, ``pareto_front.png``, ``learning_curves.png``,
        ``importances.png`` and ``parallel_coordinates.png`` those for which there is something to draw; the page
        says what the others lack.
    """
    # A second of imports, for who draws.
    from genreflow.reporting.study import png, views
    from genreflow.reporting.study.importance import importances
    from genreflow.reporting.study.page import write_page
    from genreflow.reporting.study.parallel import parallel_coordinates

    rows = read_trials(study, objectives, front=front, chosen=chosen)
    shares = importances(rows, objectives[0].name)
    charts = [
        views.history(rows, objectives, mark),
        views.trade_off(rows, objectives, mark),
        views.learning_curves(rows, objectives, mark),
        views.importance(rows, shares, mark),
        parallel_coordinates(rows, objectives, shares, mark),
    ]
    best_first = sorted(rows, key=lambda row: -row.values.get(objectives[0].name, 0))
    columns = ("trial", "architecture", *(of.name for of in objectives), "chosen")

    with atomic_directory(folder) as new:
        write_page(new / PAGE, charts, rows, objectives, name=study.study_name, mark=mark)
        write_csv(new / FRONT, columns, _front(best_first))
        for chart in charts:
            if not chart.empty:
                png.draw(chart, rows, new / f"{chart.key}.png")
    return sorted(folder.iterdir())


def _front(rows: Sequence[Row]) -> list[dict]:
    """The Pareto front."""
    return [
        {
            "trial": row.number,
            "architecture": row.architecture,
            **{name: int(value) if value == int(value) else value for name, value in row.values.items()},
            "chosen": str(row.chosen).lower(),
        }
        for row in rows
        if row.front
    ]
