"""Evaluation -> a page about the model's metrics and mistakes, which is also added to its MLflow run."""

import logging

from genreflow.bundle import Bundle
from genreflow.errors import ParameterError
from genreflow.files import one_line
from genreflow.params import load_params
from genreflow.reporting.evaluation.data import Evaluation, Prediction, Usage, load_curves
from genreflow.reporting.evaluation.page import Part, Report, write_page
from genreflow.stages import CANDIDATE, CURVES, EVALUATION, EVALUATION_PAGE, GATE, PREDICTIONS, RAW, SPLIT
from genreflow.stages.inputs import Data
from genreflow.stages.run_artifacts import add_report
from genreflow.stages.stage_results import read_result

logger = logging.getLogger(__name__)

# Lineage that the page shows already, or twice.
SHOWN_ELSEWHERE = {"split", "leaking", "mlflow.source.git.commit"}


def main() -> None:
    data, bundle = Data.load(), Bundle.load(CANDIDATE)
    report = Report(
        evaluation=read_result(EVALUATION, Evaluation, stage="evaluate"),
        predictions=load_predictions(data),
        curves=load_curves(CURVES),
        usage=read_result(GATE, Usage, stage="register"),
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


def load_predictions(data: Data) -> list[Prediction]:
    """Read the predictions of the held-out tracks.

    Raises
    ------
    ParameterError
        The file is missing or damaged, or names tracks that are not held out.
    """
    predictions = read_result(PREDICTIONS, list[Prediction], stage="evaluate")
    if unknown := {row.track for row in predictions} - set(data.split.evaluation_tracks):
        raise ParameterError(
            f"{PREDICTIONS}: must be of tracks of the {data.split.evaluation_part} part of {SPLIT}; got "
            f"{one_line(min(unknown))}. Run `dvc repro evaluate`."
        )
    return predictions
