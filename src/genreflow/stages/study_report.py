"""Trials of the study -> its report, which is also added to the study's MLflow run."""

import logging

from genreflow.errors import GenreflowError
from genreflow.reporting.study import load_study, write_report
from genreflow.stages import PROJECT, STUDY, TRIALS

logger = logging.getLogger(__name__)

# How long a server that does not answer is waited for; the report does not need it.
TIMEOUT_S = 10.0


def main() -> None:
    study = load_study(TRIALS)
    write_report(study, STUDY)
    logger.info("%d trials drawn in %s", len(study.trials), STUDY)
    if study.mlflow_run:
        log_report(study.mlflow_run)


def log_report(run_id: str) -> None:
    """Add the report to the artifacts of an MLflow run. If that fails, it is logged, and nothing is raised."""
    from genreflow.tracking.store import open_client
    from genreflow.tracking.summary import log_folder

    try:
        client = open_client(PROJECT, timeout=TIMEOUT_S)
    except GenreflowError as error:
        logger.warning("the report was not added to the MLflow run %s: %s", run_id, " ".join(str(error).split()))
        return
    log_folder(client, run_id, STUDY, timeout=TIMEOUT_S)
