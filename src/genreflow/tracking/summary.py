"""What a person finds of a study in the MLflow UI: a way to its best trial, the curves and the data, and the plots."""

from collections.abc import Mapping
from pathlib import Path

from genreflow.tracking.lineage import how_to_restore
from genreflow.tracking.outbox import attempt
from genreflow.tracking.runs import LoggedRun, find_trial

NOTE = "mlflow.note.content"
# How a description of the experiment begins that was written here.
LATEST = "Latest study:"


def show_best(
    study: LoggedRun,
    *,
    best: int,
    best_run_id: str | None,
    facts: Mapping[str, object],
    lineage: Mapping[str, str],
) -> None:
    """Make the descriptions of a study and of its experiment a way to the best trial, its curves and its very data.

    A description of the experiment that someone else wrote stays as it is.

    Parameters
    ----------
    study : LoggedRun
    best : int
        Optuna's number of the best trial.
    best_run_id : str or None
        Its run; looked for where it is not known.
    facts : mapping of str to any
        What to tell: architecture, accuracy, how many trials ended in which way. The first two are in the first line.
    lineage : mapping of str to str
        From `lineage_tags`.
    """
    client, experiment_id = study.client, study.experiment_id

    def write() -> None:
        run_id = best_run_id or next((run.info.run_id for run in find_trial(study, best)), study.run_id)
        first = _first_line(experiment_id, best, run_id, facts, lineage)
        note = "\n\n".join([f"Best: {first}", *_more(facts, lineage)])
        study.set_tags({NOTE: note, "best_trial": best})
        if client.get_experiment(experiment_id).tags.get(NOTE, LATEST).startswith(LATEST):
            page = _page(experiment_id, study.run_id)
            client.set_experiment_tag(experiment_id, NOTE, f"{LATEST} best is {first}; [all of it]({page}).")

    attempt(client.tracking_uri, write, f"the study's run there does not say that trial {best} is the best")


def log_folder(study: LoggedRun, folder: Path | str) -> None:
    """Copy a folder of plots to the artifacts of a study, under ``study``."""
    attempt(
        study.client.tracking_uri,
        lambda: study.client.log_artifacts(study.run_id, str(folder), "study"),
        f"the study's run there is without the plots; they are in {folder}",
    )


def _first_line(
    experiment_id: str, best: int, run_id: str, facts: Mapping[str, object], lineage: Mapping[str, str]
) -> str:
    # The UI shows a line of an experiment's description and five of a run's, before one asks for more.
    told = [f"{_words(name)} {_text(value)}" for name, value in list(facts.items())[:2]]
    data = [f"data `{lineage['manifest_hash']}`"] if "manifest_hash" in lineage else []
    git = [f"git `{lineage['git_revision'][:12]}`"] if "git_revision" in lineage else []
    trial, curves = _page(experiment_id, run_id), _page(experiment_id, run_id, "/model-metrics")
    return ", ".join([f"[trial {best}]({trial})", *told, f"[its curves]({curves})", *data, *git])


def _more(facts: Mapping[str, object], lineage: Mapping[str, str]) -> list[str]:
    """The rest of a study's description, in paragraphs of Markdown."""
    command = how_to_restore(lineage)
    changed = " (files in git had changes then that were not committed)" if lineage.get("git_dirty") == "true" else ""
    shown = {**facts, **{name: value for name, value in lineage.items() if not name.startswith("mlflow.")}}
    rows = [f"| {_words(name)} | {_text(value)} |" for name, value in shown.items()]
    return [
        *([f"Its data again: `{command}`{changed}"] if command else []),
        "\n".join(["| | |", "| --- | --- |", *rows]),
    ]


def _page(experiment_id: str, run_id: str, tab: str = "") -> str:
    """Address of a run inside the UI, in the view for model training whatever view the reader had before."""
    return f"#/experiments/{experiment_id}/runs/{run_id}{tab}?workflowType=machine_learning"


def _words(name: str) -> str:
    return name.replace("_", " ")


def _text(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)
