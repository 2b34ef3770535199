"""Evaluation -> a page about the model's metrics and mistakes, which is also added to its MLflow run."""

import logging

from genreflow.bundle import Bundle
from genreflow.params import load_params
from genreflow.reporting.evaluation.data import load_curves, load_evaluation, load_predictions, load_usage
from genreflow.reporting.evaluation.page import Part, Report, write_page
from genreflow.stages import CANDIDATE, CURVES, EVALUATION, EVALUATION_PAGE, GATE, PREDICTIONS, RAW
from genreflow.stages.inputs import Data
from genreflow.stages.run_artifacts import add_report

logger = logging.getLogger(__name__)

# Lineage that the page shows already, or twice.
SHOWN_ELSEWHERE = {"split", "leaking", "mlflow.source.git.commit"}


def main() -> None:
    data, bundle = Data.load(), Bundle.load(CANDIDATE)
    report = Report(
        evaluation=load_evaluation(EVALUATION),
        predictions=load_predictions(PREDICTIONS),
        curves=load_curves(CURVES),
        usage=load_usage(GATE),
        manifest=data.manifest,
        parts=[
            Part(data.split.prefixed(name, sep=" "), len(ids), len({data.split.groups[track] for track in ids}))
            for name, ids in data.split.parts.items()
        ],
        groups_known=data.manifest.groups_known,
        lineage={
            "architecture": bundle.architecture,
            **{name: value for name, value in bundle.scalar_lineage.items() if name not in SHOWN_ELSEWHERE},
            "bundle": bundle.hash,
        },
    )
    write_page(EVALUATION_PAGE, report, load_params().report, data.store, RAW)
    logger.info(f"{data.split.prefixed('evaluation', sep=' ')} shown in {EVALUATION_PAGE}")
    if run_id := bundle.lineage.get("mlflow_run"):
        add_report(str(run_id), EVALUATION_PAGE)
