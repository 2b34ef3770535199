"""Trials of the study -> its report, which is also added to the study's MLflow run."""

import logging

from genreflow.reporting.study import load_study, write_report
from genreflow.stages import STUDY, TRIALS
from genreflow.stages.run_artifacts import add_reports

logger = logging.getLogger(__name__)


def main() -> None:
    study = load_study(TRIALS)
    write_report(study, STUDY)
    logger.info("%d trials drawn in %s", len(study.trials), STUDY)
    if study.mlflow_run:
        add_reports(study.mlflow_run, (STUDY,), stage="study-report", artifact_path="study")
