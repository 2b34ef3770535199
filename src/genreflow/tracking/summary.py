"""What the MLflow UI shows at a glance: descriptions with links, metrics and reports of runs that have ended."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from mlflow import MlflowClient
from mlflow.entities import Metric
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import RESOURCE_DOES_NOT_EXIST, ErrorCode

from genreflow.tracking.lineage import restore_command
from genreflow.tracking.runs import LoggedRun
from genreflow.tracking.trials import find_trial
from genreflow.tracking.writer import CLOSE_TIMEOUT_S, MlflowWriter, RunHandle, now_ms

# Tag of a run or an experiment that the UI shows as its description.
NOTE = "mlflow.note.content"
MAX_NOTE = 8000  # MLflow's limit of a tag [characters]
# Paragraphs of an experiment's description that genreflow writes, and may replace, in their order. Without a click the
# UI shows the first one.
CHAMPION, LATEST = "Champion:", "Latest study:"


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
        page = _page(experiment_id, study.run_id)
        describe_experiment(client, experiment_id, LATEST, f"best is {first}; [details]({page}).")

    study.writer.submit(write, label="description of the study")


def describe_experiment(client: MlflowClient, experiment_id: str, heading: str, text: str) -> None:
    """Write a paragraph of an experiment's description; a description that someone else wrote is kept.

    Parameters
    ----------
    client : MlflowClient
    experiment_id : str
    heading : str
        `CHAMPION` or `LATEST`; the paragraph that begins with it is replaced.
    text : str
        In Markdown, one paragraph.
    """
    found = client.get_experiment(experiment_id).tags.get(NOTE, "")
    own = {name: part for part in found.split("\n\n") for name in (CHAMPION, LATEST) if part.startswith(name)}
    if len("\n\n".join(own.values())) != len(found):
        return
    own[heading] = f"{heading} {text}"
    note = "\n\n".join(own[name] for name in (CHAMPION, LATEST) if name in own)
    client.set_experiment_tag(experiment_id, NOTE, note)


def link_to_run(experiment_id: str, run_id: str, text: str) -> str:
    """Return a link to the page of a run, in Markdown."""
    return f"[{text}]({_page(experiment_id, run_id)})"


def add_metrics(
    client: MlflowClient, run_id: str, metrics: Mapping[str, float], *, model_id: str | None = None
) -> None:
    """Add metrics to a run that has ended, and to the model that it logged.

    Parameters
    ----------
    client : MlflowClient
    run_id : str
        A run that this store does not have is ignored.
    metrics : mapping of str to float
        NaN and infinite ones are left out.
    model_id : str, optional
    """
    now = now_ms()
    values = [
        Metric(name, float(value), now, 0, model_id=model_id) for name, value in metrics.items() if math.isfinite(value)
    ]
    try:
        client.log_batch(run_id, metrics=values)
    except MlflowException as error:
        if error.error_code != ErrorCode.Name(RESOURCE_DOES_NOT_EXIST):
            raise


def log_reports(
    client: MlflowClient,
    run_id: str,
    paths: Sequence[Path],
    *,
    artifact_path: str | None = None,
    note: str | None = None,
    timeout: float = CLOSE_TIMEOUT_S,
) -> bool:
    """Copy reports to the artifacts of a run.

    If the store does not answer, that is logged, and nothing is raised.

    Parameters
    ----------
    client : MlflowClient
    run_id : str
        The run may have ended.
    paths : sequence of Path
        Files or folders.
    artifact_path : str, optional
        Folder of the artifacts; by default their root.
    note : str, optional
        The description of the run, in Markdown; its end is cut off where MLflow does not accept it.
    timeout : float [s]
        How long to wait for a store that does not answer.

    Returns
    -------
    bool
        Whether everything was written.
    """
    writer, run = MlflowWriter(client), RunHandle("report", run_id)
    for path in paths:
        writer.log_artifacts(run, path, artifact_path)
    if note is not None:
        writer.set_tags(run, {NOTE: note[:MAX_NOTE]})
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
