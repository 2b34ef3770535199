"""Bundle and metrics -> a version in the registry; the gate decides whether it becomes the champion."""

import logging
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from genreflow.bundle import Bundle
from genreflow.errors import GenreflowError, ParameterError
from genreflow.files import one_line, write_json
from genreflow.inference.predictor import Predictor
from genreflow.inference.tracks import predict_tracks
from genreflow.params import load_params
from genreflow.registry.gate import Evidence, GateReport, decide
from genreflow.registry.model_registry import Registry
from genreflow.registry.params import GateParams
from genreflow.registry.pointer import Pointer, read_pointer, write_pointer
from genreflow.stages import (
    CANDIDATE,
    CHAMPION,
    EVALUATION,
    GATE,
    METRICS,
    POINTER,
    PREDICTIONS,
    PROJECT,
    RAW,
    SPLIT,
)
from genreflow.stages.inputs import Data
from genreflow.stages.stage_results import EvaluationSummary, Metrics, Prediction, read_result

logger = logging.getLogger(__name__)


def main() -> None:
    gate = load_params().gate
    data = Data.load()
    results = Results.load(data)
    pointer = read_pointer(POINTER)
    registry = Registry.open(PROJECT)
    version = registry.register(CANDIDATE, metrics=flat_metrics(results.metrics))
    report = decide(gather_evidence(registry, version, pointer, data, results, gate))
    registry.record_gate(version, data.split.hash, report)
    move_pointer(registry, version, pointer, report)
    write_json(GATE, {"version": version, **report.to_dict()})
    logger.info(f"{data.split.prefixed('version', sep=' ')} {version}: {report.reason}")


@dataclass(frozen=True)
class Results:
    """What `evaluate` wrote about the candidate: predictions by track, the majority-class baseline, and the metrics."""

    predictions: dict[str, Prediction]
    majority_accuracy: float
    metrics: Metrics

    @classmethod
    def load(cls, data: Data) -> "Results":
        """Read it.

        Raises
        ------
        ParameterError
            A file is missing or damaged, or the predictions are not those of test tracks of `data`.
        """
        predictions = read_result(PREDICTIONS, list[Prediction], stage="evaluate")
        unknown = {row.track for row in predictions} - set(data.split.evaluation_tracks)
        if unknown or not predictions:
            raise ParameterError(
                f"{PREDICTIONS}: must be of tracks of the {data.split.evaluation_part} part of {SPLIT}; got "
                f"{one_line(min(unknown, default='none'))}. Run `dvc repro evaluate`."
            )
        evaluation = read_result(EVALUATION, EvaluationSummary, stage="evaluate")
        metrics = read_result(METRICS, Metrics, stage="evaluate")
        return cls({row.track: row for row in predictions}, evaluation.majority_accuracy, metrics)


def flat_metrics(metrics: Mapping[str, Mapping[str, Mapping[str, float]]]) -> dict[str, float]:
    """Return ``{part: {unit: {name: value}}}`` as ``{"part_unit_name": value}``."""
    return {
        f"{part}_{unit}_{name}": value
        for part, units in metrics.items()
        for unit, values in units.items()
        for name, value in values.items()
    }


def gather_evidence(
    registry: Registry, version: str, pointer: Pointer | None, data: Data, results: Results, gate: GateParams
) -> Evidence:
    """Collect what the gate decides on; the champion classifies the candidate's test tracks for it."""
    candidate = Bundle.load(CANDIDATE)
    predictions = results.predictions
    leaking = data.split.leaking
    with tempfile.TemporaryDirectory() as folder:
        # A leaking candidate is not compared with the champion.
        champion = None if leaking else find_champion(registry, pointer, Path(folder, "champion"))
        return Evidence(
            candidate_correct={track: row.predicted == row.actual for track, row in predictions.items()},
            champion_correct=None if champion is None else classify(champion, data, list(predictions)),
            majority_accuracy=results.majority_accuracy,
            min_probability=gate.min_probability,
            same_bundle=pointer is not None and pointer.champion.bundle_hash == candidate.hash,
            leaking=leaking,
            rolled_back=registry.was_rolled_back(version),
            same_labels=champion is None or champion.labels == candidate.labels,
            test_in_champion_training=False if champion is None else trained_on(champion, data, list(predictions)),
            groups={track: data.split.groups[track] for track in predictions} if data.manifest.groups_known else None,
            times_test_split_used=registry.times_split_used(data.split.hash, version),
        )


def find_champion(registry: Registry, pointer: Pointer | None, directory: Path) -> Bundle | None:
    """Download the champion's bundle; None if there is no champion or it is in another registry.

    Where the registry's copy is damaged, the packaged champion is as good.
    """
    if pointer is None:
        return None
    if registry.find(pointer.champion.bundle_hash) is None:
        logger.info(
            f"note: this registry does not have the champion of {POINTER}; the candidate is compared with the "
            "majority-class baseline"
        )
        return None
    return registry.fetch_champion(pointer, directory, packaged=CHAMPION)


def classify(champion: Bundle, data: Data, track_ids: list[str]) -> dict[str, bool] | None:
    """Return whether the champion classifies each track correctly; None if it cannot classify them.

    It cannot if one of the genres is not among its labels, or if it needs other features than the store has and the
    source has no audio to compute them from.
    """
    tracks = data.usable(track_ids)
    if not {track.genre for track in tracks} <= set(champion.labels):
        return None
    predictor = Predictor(champion.directory)
    if champion.spec == data.store.spec:
        probabilities = predict_tracks(predictor, data.store, data.hashes_of(track_ids)).by_track
        predicted = [champion.labels[label] for label in probabilities.argmax(axis=1)]
    elif data.manifest.source != "spectrograms":
        # The probabilities are in descending order.
        predicted = [next(iter(predictor.classify(RAW / track.path).probabilities)) for track in tracks]
    else:
        return None
    return {track.id: genre == track.genre for track, genre in zip(tracks, predicted, strict=True)}


def trained_on(champion: Bundle, data: Data, track_ids: list[str]) -> bool | None:
    """Return whether the champion was trained on one of the tracks; None if its training tracks are unknown."""
    if "train_tracks" not in champion.lineage:
        return None
    known = set(champion.lineage["train_tracks"])
    if data.split.evaluation_part == "test":  # validation tracks chose its epoch and its temperature
        known |= set(champion.lineage.get("valid_tracks", ()))
    return any(key in known for key in data.hashes_of(track_ids))


def move_pointer(registry: Registry, version: str, pointer: Pointer | None, report: GateReport) -> None:
    """Promote the version if the gate decided so.

    Raises
    ------
    GenreflowError
        There is no champion, and the candidate does not qualify as the first one.
    """
    if report.promote:
        registry.promote(version, POINTER, reason=report.reason)
    elif pointer is None and report.rule == "leaking":
        write_pointer(None, POINTER)
    elif pointer is None:
        raise GenreflowError(f"{POINTER}: needs a champion, and version {version} is not promoted. {report.reason}")
