"""Reports as artifacts of MLflow runs."""

import logging
from collections.abc import Sequence
from pathlib import Path

from genreflow.errors import GenreflowError
from genreflow.stages import PROJECT

logger = logging.getLogger(__name__)

# How long a server that does not answer is waited for; no report needs it.
TIMEOUT_S = 10.0


def add_reports(
    run_id: str, paths: Sequence[Path], *, stage: str, artifact_path: str | None = None, note: str | None = None
) -> None:
    """Add reports to the artifacts of an MLflow run. If that fails, it is logged, and nothing is raised.

    Parameters
    ----------
    run_id : str
    paths : sequence of Path
        Files or folders.
    stage : str
        The stage of dvc.yaml that writes them.
    artifact_path : str, optional
        Folder of the artifacts; by default their root.
    note : str, optional
        The description of the run, in Markdown.
    """
    from genreflow.tracking.store import open_client
    from genreflow.tracking.summary import log_reports

    names, command = ", ".join(map(str, paths)), f"`dvc repro --single-item --force {stage}` adds them"
    try:
        client = open_client(PROJECT, timeout=TIMEOUT_S)
    except GenreflowError as error:
        reason = " ".join(str(error).split())
        logger.warning("%s: not added to the MLflow run %s: %s %s later.", names, run_id, reason, command)
        return
    if not log_reports(client, run_id, paths, artifact_path=artifact_path, note=note, timeout=TIMEOUT_S):
        logger.warning("%s: complete here, not in the MLflow run %s; %s later.", names, run_id, command)
