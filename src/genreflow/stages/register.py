"""Bundle and metrics -> a version in the registry; the gate decides whether it becomes the champion."""

import logging
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from genreflow.bundle import REFERENCE_FILE, Bundle, DriftReference, add_reference
from genreflow.errors import DamagedFileError, GenreflowError, ParameterError
from genreflow.file_names import one_line
from genreflow.files import write_json
from genreflow.params import load_params
from genreflow.registry.comparison import Comparison, compare, pair_predictions
from genreflow.registry.evidence import Evidence, Obstacle
from genreflow.registry.gate import GateReport, decide
from genreflow.registry.model_registry import Registry
from genreflow.registry.params import GateParams
from genreflow.registry.pointer import Pointer, read_pointer, write_pointer
from genreflow.stages import (
    CANDIDATE,
    CHAMPION,
    DRIFT_REFERENCE,
    EVALUATION,
    GATE,
    METRICS,
    POINTER,
    PREDICTIONS,
    PROJECT,
    SPLIT,
)
from genreflow.stages.inputs import Data
from genreflow.stages.model_comparison import classify_tracks, is_of_other_data, known_tracks, unseen_tracks
from genreflow.stages.stage_results import EvaluationSummary, Metrics, Prediction, read_result

logger = logging.getLogger(__name__)


def main() -> None:
    gate = load_params().gate
    data = Data.load()
    results = Results.load(data)
    pointer = read_pointer(POINTER)
    registry = Registry.open(PROJECT, gate.model_name(data.manifest.source))
    with tempfile.TemporaryDirectory() as folder:
        bundle = add_drift_reference(Path(folder, CANDIDATE.name))
        version = registry.register(bundle, metrics=flat_metrics(results.metrics))
    report = decide(gather_evidence(registry, version, pointer, data, results, gate))
    registry.record_gate(version, data.split.hash, report)
    move_pointer(registry, version, pointer, report)
    write_json(GATE, {"version": version, **report.to_dict()})
    logger.info(f"{data.split.prefixed('version', sep=' ')} {version} of {registry.name}: {report.reason}")


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


def add_drift_reference(directory: Path) -> Path:
    """Copy the candidate with its drift reference; return the directory of the candidate itself if it has none.

    Raises
    ------
    ParameterError
        The reference is damaged.
    """
    path = DRIFT_REFERENCE / REFERENCE_FILE
    if not path.exists():
        return CANDIDATE
    try:
        reference = DriftReference.load(path)
    except ParameterError as error:
        raise DamagedFileError(path, f"{error}; `dvc repro drift-reference` writes it again.") from error
    add_reference(CANDIDATE, directory, reference)
    return directory


def gather_evidence(
    registry: Registry, version: str, served: Pointer | None, data: Data, results: Results, gate: GateParams
) -> Evidence:
    """Collect what the gate decides on; the champion classifies the candidate's test tracks for it.

    Parameters
    ----------
    registry : Registry
        Of the candidate's registered model.
    version : str
        Of the candidate.
    served : Pointer or None
        Content of the champion pointer, which may name another registered model.
    data : Data
    results : Results
    gate : GateParams
    """
    candidate = Bundle.load(CANDIDATE)
    pointer = served.of_model(registry.name) if served else None
    same_bundle = pointer is not None and pointer.champion.bundle_hash == candidate.hash
    facts: dict[str, Any] = {}
    if pointer is not None and not same_bundle and not data.split.leaking:
        with tempfile.TemporaryDirectory() as folder:
            champion = find_champion(registry, pointer, Path(folder, "champion"))
            facts["obstacle"] = find_obstacle(champion, candidate, data)
            if champion is not None and facts["obstacle"] is None:
                facts |= compare_on_common_tracks(champion, data, results.predictions)
    return Evidence(
        candidate_correct={track: row.predicted == row.actual for track, row in results.predictions.items()},
        majority_accuracy=results.majority_accuracy,
        registered_model=registry.name,
        champion=pointer.champion.version if pointer else None,
        params=gate,
        same_bundle=same_bundle,
        leaking=data.split.leaking,
        rolled_back=registry.was_rolled_back(version),
        times_test_split_used=registry.times_split_used(data.split.hash, version),
        **facts,
    )


def find_champion(registry: Registry, pointer: Pointer, directory: Path) -> Bundle | None:
    """Download the champion's bundle; None if neither this registry nor `CHAMPION` has it.

    Where the registry's copy is damaged, the packaged champion is as good.
    """
    if registry.find(pointer.champion.bundle_hash) is None and not is_packaged(pointer):
        return None
    return registry.fetch_champion(pointer, directory, packaged=CHAMPION)


def is_packaged(pointer: Pointer) -> bool:
    try:
        return Bundle.load(CHAMPION).hash == pointer.champion.bundle_hash
    except GenreflowError:
        return False


def find_obstacle(champion: Bundle | None, candidate: Bundle, data: Data) -> Obstacle | None:
    """Return why champion and candidate cannot be compared, apart from what `compare_on_common_tracks` finds."""
    if champion is None:
        return "not_found"
    if champion.labels != candidate.labels:
        return "other_labels"
    if known_tracks(champion, data) is None:
        return "unknown_training"
    return "other_data" if is_of_other_data(champion, data) else None


def compare_on_common_tracks(champion: Bundle, data: Data, predictions: Mapping[str, Prediction]) -> dict[str, Any]:
    """Compare the champion with the candidate on the test tracks that the champion does not know.

    Returns
    -------
    dict
        ``comparison`` or ``obstacle``, for `Evidence`.
    """
    known = known_tracks(champion, data) or set()
    common = unseen_tracks(list(predictions), known, data)
    if not common:
        return {"obstacle": "no_common_tracks"}
    predicted = classify_tracks(champion, data, common)
    if predicted is None:
        return {"obstacle": "other_features"}
    tracks = pair_predictions(
        {track: row.actual for track, row in predictions.items()},
        data.split.groups,
        predicted,
        {track: predictions[track].predicted for track in common},
    )
    comparison: Comparison = compare(
        tracks,
        names=("champion", "candidate"),
        groups_known=data.manifest.groups_known,
        excluded=len(predictions) - len(tracks),
    )
    return {"comparison": comparison}


def move_pointer(registry: Registry, version: str, served: Pointer | None, report: GateReport) -> None:
    """Promote the version if the gate decided so; otherwise the champion of its registered model is served.

    If that has none, the champion of another registered model stays.

    Raises
    ------
    GenreflowError
        There is no champion at all, and the candidate does not qualify as the first one.
    """
    pointer = served.of_model(registry.name) if served else None
    if report.promote:
        registry.promote(version, POINTER, reason=report.reason)
    elif served is None and report.rule == "leaking":
        write_pointer(None, POINTER)
    elif served is None:
        raise GenreflowError(f"{POINTER}: needs a champion, and version {version} is not promoted. {report.reason}")
    elif pointer is None:
        logger.info(f"note: version {served.champion.version} of {served.name} is still served")
    elif pointer != served:
        registry.serve(pointer, POINTER)
        logger.info(f"note: version {pointer.champion.version} of {pointer.name} is served again")
