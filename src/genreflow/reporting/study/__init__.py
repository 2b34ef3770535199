"""The report on a study: one interactive page, and its Pareto front as a table.

Optuna's own plots show neither architectures nor pruned trials and give each conditional hyperparameter an axis (22 in
a search over three architectures), so the plots are made here.
"""

from pathlib import Path

from genreflow.files import atomic_directory, write_csv
from genreflow.reporting.study.data import ACCURACY, Study, load_study

__all__ = ["Study", "load_study", "write_report"]

PAGE, PARETO_FRONT = "study.html", "pareto_front.csv"


def write_report(study: Study, folder: Path) -> None:
    """Write ``study.html`` and ``pareto_front.csv``.

    The page is a single file that works offline. A plot that the study has too few trials for is replaced with a
    sentence that says what it needs.

    Parameters
    ----------
    study : Study
    folder : Path
        Replaced as a whole, and only if all files could be written.
    """
    # Plotly and Jinja take half a second to import.
    from genreflow.reporting.study.page import write_page

    columns = ("trial", "architecture", *(of.name for of in study.objectives), "chosen")
    with atomic_directory(folder) as new:
        write_page(new / PAGE, study)
        write_csv(new / PARETO_FRONT, columns, pareto_front(study))


def pareto_front(study: Study) -> list[dict[str, object]]:
    """Return the Pareto-optimal trials as rows, the most accurate first."""
    trials = sorted(study.trials, key=lambda trial: -trial.values.get(ACCURACY, 0))
    return [
        {
            "trial": trial.number,
            "architecture": trial.architecture,
            **{name: int(value) if value == int(value) else value for name, value in trial.values.items()},
            "chosen": str(trial.chosen).lower(),
        }
        for trial in trials
        if trial.pareto_optimal
    ]
