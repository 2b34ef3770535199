"""What the MLflow UI shows of a study: links to its best trial, learning curves and data, and its plots."""

from collections.abc import Mapping
from pathlib import Path

from mlflow import MlflowClient

from genreflow.tracking.lineage import restore_command
from genreflow.tracking.runs import LoggedRun
from genreflow.tracking.trials import find_trial
from genreflow.tracking.writer import CLOSE_TIMEOUT_S, MlflowWriter, RunHandle

# Tag of a run or an experiment that the UI shows as its description.
NOTE = "mlflow.note.content"
# Start of a description that `describe_best_trial` wrote, and may replace.
LATEST = "Latest study:"


def describe_best_trial(
    study: LoggedRun,
    *,
    number: int,
    run_id: str | None,
    facts: Mapping[str, object],
    lineage: Mapping[str, str],
) -> None:
    """Write descriptions of a study and its experiment that link to the best trial, its curves and its data.

    A description of the experiment that someone else wrote is kept.

    Parameters
    ----------
    study : LoggedRun
    number : int
        Optuna's number of the best trial.
    run_id : str or None
        Its run; searched for if it is not known.
    facts : mapping of str to any
        What to show: architecture, accuracy, number of trials by how they ended. The first two appear in the first
        line.
    lineage : mapping of str to str
        From `genreflow.tracking.lineage.lineage_tags`.
    """
    client, experiment_id = study.client, study.experiment_id

    def write() -> None:
        trial = run_id or next((run.info.run_id for run in find_trial(study, number)), study.run_id)
        first = _first_line(experiment_id, number, trial, facts, lineage)
        note = "\n\n".join([f"Best: {first}", *_details(facts, lineage)])
        client.set_tag(study.run_id, NOTE, note)
        client.set_tag(study.run_id, "best_trial", number)
        if client.get_experiment(experiment_id).tags.get(NOTE, LATEST).startswith(LATEST):
            page = _page(experiment_id, study.run_id)
            client.set_experiment_tag(experiment_id, NOTE, f"{LATEST} best is {first}; [details]({page}).")

    study.writer.submit(write, label="description of the study")


def log_report(
    client: MlflowClient,
    run_id: str,
    path: Path,
    *,
    artifact_path: str | None = None,
    timeout: float = CLOSE_TIMEOUT_S,
) -> bool:
    """Copy a report to the artifacts of a run.

    If the store does not answer, that is logged, and nothing is raised.

    Parameters
    ----------
    client : MlflowClient
    run_id : str
        The run may have ended.
    path : Path
        A file or a folder.
    artifact_path : str, optional
        Folder of the artifacts; by default their root.
    timeout : float [s]
        How long to wait for a store that does not answer.

    Returns
    -------
    bool
        Whether it was written.
    """
    writer = MlflowWriter(client)
    writer.log_artifacts(RunHandle("report", run_id), path, artifact_path)
    return writer.close(timeout=timeout) == 0


def _first_line(
    experiment_id: str, number: int, run_id: str, facts: Mapping[str, object], lineage: Mapping[str, str]
) -> str:
    # Without a click the UI shows one line of an experiment's description, and five of a run's.
    headline = [f"{_as_words(name)} {_as_text(value)}" for name, value in list(facts.items())[:2]]
    data = [f"data `{lineage['manifest_hash']}`"] if "manifest_hash" in lineage else []
    git = [f"git `{lineage['git_revision'][:12]}`"] if "git_revision" in lineage else []
    trial, curves = _page(experiment_id, run_id), _page(experiment_id, run_id, "/model-metrics")
    return ", ".join([f"[trial {number}]({trial})", *headline, f"[learning curves]({curves})", *data, *git])


def _details(facts: Mapping[str, object], lineage: Mapping[str, str]) -> list[str]:
    """Return the rest of a study's description, as paragraphs of Markdown."""
    command = restore_command(lineage)
    dirty = " (tracked files had uncommitted changes)" if lineage.get("git_dirty") == "true" else ""
    shown = {**facts, **{name: value for name, value in lineage.items() if not name.startswith("mlflow.")}}
    rows = [f"| {_as_words(name)} | {_as_text(value)} |" for name, value in shown.items()]
    return [
        *([f"To restore its data: `{command}`{dirty}"] if command else []),
        "\n".join(["| | |", "| --- | --- |", *rows]),
    ]


def _page(experiment_id: str, run_id: str, tab: str = "") -> str:
    """Return the address of a run in the UI, in the view for model training."""
    return f"#/experiments/{experiment_id}/runs/{run_id}{tab}?workflowType=machine_learning"


def _as_words(name: str) -> str:
    return name.replace("_", " ")


def _as_text(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)
