"""Reports as artifacts of MLflow runs."""

import logging
from pathlib import Path

from genreflow.errors import GenreflowError
from genreflow.stages import PROJECT

logger = logging.getLogger(__name__)

# How long a server that does not answer is waited for; no report needs it.
TIMEOUT_S = 10.0


def add_report(run_id: str, path: Path, *, artifact_path: str | None = None) -> None:
    """Add a report to the artifacts of an MLflow run. If that fails, it is logged, and nothing is raised.

    Parameters
    ----------
    run_id : str
    path : Path
        A file or a folder.
    artifact_path : str, optional
        Folder of the artifacts; by default their root.
    """
    from genreflow.tracking.store import open_client
    from genreflow.tracking.summary import log_report

    try:
        client = open_client(PROJECT, timeout=TIMEOUT_S)
    except GenreflowError as error:
        logger.warning("%s was not added to the MLflow run %s: %s", path, run_id, " ".join(str(error).split()))
        return
    log_report(client, run_id, path, artifact_path=artifact_path, timeout=TIMEOUT_S)
