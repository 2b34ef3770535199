"""Evaluation -> a page about the model's metrics and mistakes, and its model card, which its MLflow run has too."""

import logging
from pathlib import Path

from genreflow.bundle import Bundle
from genreflow.errors import ParameterError
from genreflow.file_names import one_line
from genreflow.files import write_csv
from genreflow.params import load_params
from genreflow.reporting.evaluation.data import Evaluation, Prediction, Usage, load_curves
from genreflow.reporting.evaluation.model_card import write_model_card
from genreflow.reporting.evaluation.page import Part, Report, write_page
from genreflow.stages import (
    CANDIDATE,
    CONFUSION_MATRIX,
    CURVES,
    EVALUATION,
    EVALUATION_PAGE,
    GATE,
    MODEL_CARD,
    PREDICTIONS,
    RAW,
    SPLIT,
)
from genreflow.stages.inputs import Data
from genreflow.stages.run_artifacts import add_reports
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
    write_model_card(MODEL_CARD, report, bundle)
    write_confusion_matrix(CONFUSION_MATRIX, report.evaluation)
    logger.info(f"{data.split.prefixed('evaluation', sep=' ')} shown in {EVALUATION_PAGE}, described in {MODEL_CARD}")
    if run_id := bundle.lineage.get("mlflow_run"):
        reports, note = (EVALUATION_PAGE, MODEL_CARD, CONFUSION_MATRIX), MODEL_CARD.read_text("utf-8")
        add_reports(str(run_id), reports, stage="evaluation-report", note=note)


def write_confusion_matrix(path: Path, evaluation: Evaluation) -> None:
    """Write the numbers of tracks as a table: rows are the true genres, columns the predicted ones."""
    genres = list(evaluation.track.per_genre)
    corner = f"{evaluation.part}: true, predicted"
    rows = [
        {corner: genre, **dict(zip(genres, counts, strict=True))}
        for genre, counts in zip(genres, evaluation.track.confusion, strict=True)
    ]
    write_csv(path, (corner, *genres), rows)


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
