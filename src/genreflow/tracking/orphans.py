"""Runs and models that a killed process left unfinished."""

import logging
from collections.abc import Mapping

from mlflow import MlflowClient

from genreflow.processes import has_ended, this_process

logger = logging.getLogger(__name__)

# Tag of runs and models: the process that writes them, as host, process ID and start [s since the epoch].
PROCESS = "genreflow.process"
# Tag of a trial: the run of its study.
PARENT = "mlflow.parentRunId"


def process_tag() -> dict[str, str]:
    """Return the tag that names this process."""
    return {PROCESS: "{host} {pid} {started:.1f}".format(**this_process())}


def is_orphaned(tags: Mapping[str, str]) -> bool:
    """Return whether the process that the tags name ran on this host and has ended."""
    try:
        host, pid, started = tags[PROCESS].split(" ")
        return has_ended({"host": host, "pid": int(pid), "started": float(started)}) is True
    except (KeyError, ValueError):
        return False


def end_orphaned_runs(client: MlflowClient, experiment_id: str, *, study: str | None = None) -> None:
    """End runs as FAILED that are RUNNING, although their process on this host has ended.

    Parameters
    ----------
    client : MlflowClient
    experiment_id : str
    study : str, optional
        ID of the run of a study that is resumed: it and its trials are left, since Optuna knows how they ended.
    """
    for run in client.search_runs([experiment_id], "attributes.status = 'RUNNING'", max_results=1000):
        resumed = study is not None and study in (run.info.run_id, run.data.tags.get(PARENT))
        if is_orphaned(run.data.tags) and not resumed:
            client.set_tag(run.info.run_id, "error", "the process was killed")
            client.set_terminated(run.info.run_id, "FAILED")
            logger.info("the run %s, whose process was killed, ends as FAILED", run.info.run_name)
