"""Bundle -> metrics on the held-out part of the split, beside those of the baselines."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from genreflow.bundle import Bundle, BundleError
from genreflow.errors import DamagedFileError, ParameterError
from genreflow.evaluation.intervals import accuracy_interval
from genreflow.evaluation.metrics import evaluate
from genreflow.evaluation.paired import probability_better
from genreflow.files import write_csv, write_json
from genreflow.inference.prediction import abstention_reason
from genreflow.inference.predictor import Predictor
from genreflow.inference.tracks import TrackPredictions, predict_tracks
from genreflow.stages import BASELINES, CANDIDATE, CONFUSION, EVALUATION, MANIFEST, METRICS, PREDICTIONS
from genreflow.stages.inputs import Data
from genreflow.stages.stage_results import Baselines, read_result

logger = logging.getLogger(__name__)

# The metrics that `dvc metrics` compares and that the registry shows.
HEADLINE = ("n", "accuracy", "accuracy_low", "accuracy_high", "macro_f1")
# The simplest baseline: all tracks get the most frequent genre.
MAJORITY = "majority class"


@dataclass(frozen=True)
class Evaluation:
    """The evaluation of a bundle.

    Parameters
    ----------
    report : dict
        All metrics, by track and by segment, with the part and the split that they were measured on.
    predictions : list of dict
        By track: ``track`` (ID), ``actual``, ``predicted``, ``confidence`` in [0, 1], and ``unfamiliarity`` in
        [0, 2] or None.
    """

    report: dict
    predictions: list[dict]

    @property
    def headline(self) -> dict:
        """The metrics in `HEADLINE` and the accuracies of the baselines, rounded: ``{part: {unit: {name: value}}}``."""
        units = {unit: {name: self.report[unit][name] for name in HEADLINE} for unit in ("track", "segment")}
        units["baseline"] = {
            f"{short_name(row['baseline'])}_{name}": row[name]
            for row in self.report["baselines"]
            for name in ("accuracy", "accuracy_low", "accuracy_high")
        }
        return {
            self.report["part"]: {
                unit: {name: round(value, 4) for name, value in metrics.items()} for unit, metrics in units.items()
            }
        }


def main() -> None:
    data, baselines = Data.load(), read_result(BASELINES, Baselines, stage="baselines")
    try:
        predictor = Predictor(CANDIDATE)
    except BundleError as error:
        raise DamagedFileError(CANDIDATE, str(error)) from error
    evaluation = evaluate_bundle(predictor, data, baselines)
    write_json(EVALUATION, evaluation.report)
    write_json(METRICS, evaluation.headline)
    write_json(PREDICTIONS, evaluation.predictions)
    # The plot of the confusion matrix shows nothing but the genres, so that these carry the prefix of a leaking split.
    confusion = [
        {axis: data.split.prefixed(row[axis], sep=" ") for axis in ("actual", "predicted")}
        for row in evaluation.predictions
    ]
    write_csv(CONFUSION, ("actual", "predicted"), confusion)
    log_evaluation(evaluation)


def evaluate_bundle(predictor: Predictor, data: Data, baselines: Mapping[str, Mapping[str, str]]) -> Evaluation:
    """Evaluate a bundle on the evaluation part of the split.

    Parameters
    ----------
    predictor : Predictor
    data : Data
    baselines : mapping of str to mapping of str to str
        Genres that each baseline predicts, by its name and track ID.

    Raises
    ------
    ParameterError
        The bundle has other features than `data` or lacks one of its genres, or a baseline lacks a track.
    """
    split, bundle = data.split, predictor.bundle
    part, genres = split.evaluation_part, bundle.labels
    if bundle.spec != data.store.spec or not set(data.manifest.genres) <= set(genres):
        raise ParameterError(
            f"{bundle.directory}: must have the features and genres of {MANIFEST}; got another model. Run `dvc repro "
            "train`."
        )
    counts = data.segment_counts(part, length=bundle.segment_frames, hop=bundle.segment_hop)
    tracks = data.usable(counts)
    if any({track.id for track in tracks} - by_track.keys() for by_track in baselines.values()):
        raise ParameterError(
            f"{BASELINES}: must have the tracks of the {part} part; got others. Run `dvc repro baselines`."
        )
    labels = np.array([genres.index(track.genre) for track in tracks])
    most_frequent = np.bincount(labels).argmax()
    predicted = predict_tracks(predictor, data.store, data.hashes_of(counts), segment_mask=split.segment_mask(part))
    groups = np.unique([split.groups[track.id] for track in tracks], return_inverse=True)[1]
    clusters = groups if data.manifest.groups_known else None
    compared = compare_with_baselines(
        predicted.by_track.argmax(axis=1) == labels,
        {MAJORITY: labels == most_frequent}
        | {
            name: np.array([by_track[track.id] == track.genre for track in tracks])
            for name, by_track in baselines.items()
        },
        clusters,
    )
    report = {
        "part": split.prefixed(part),
        "split": split.method,
        "leaking": split.leaking,
        "notes": list(split.notes),
        "baseline_notes": notes_on_baselines(compared, split.prefixed(part, sep=" ")),
        "majority_accuracy": float(np.mean(labels == most_frequent)),
        "baselines": compared,
        **count_abstentions(bundle, predicted, labels),
        "track": evaluate(predicted.by_track, labels, genres=genres, clusters=clusters),
        "segment": evaluate(
            predicted.by_segment, labels[predicted.track_index], genres=genres, clusters=predicted.track_index
        ),
    }
    predictions = [
        {
            "track": track.id,
            "actual": track.genre,
            "predicted": genres[probabilities.argmax()],
            "confidence": round(float(probabilities.max()), 4),
            "unfamiliarity": None if unfamiliarity is None else round(unfamiliarity, 4),
            **split.tags,
        }
        for track, probabilities, unfamiliarity in zip(tracks, predicted.by_track, predicted.unfamiliarity, strict=True)
    ]
    return Evaluation(report, predictions)


def count_abstentions(bundle: Bundle, predicted: TrackPredictions, labels: np.ndarray) -> dict[str, int | float | None]:
    """Count the tracks that get no genre, and compute the accuracy on the others.

    Parameters
    ----------
    bundle : Bundle
    predicted : TrackPredictions
    labels : np.ndarray [shape=(n_tracks,), dtype=int]

    Returns
    -------
    dict
        ``abstained``, the number of tracks without a genre, ``unfamiliar``, the number of those that are refused as
        unfamiliar, and ``answered_accuracy`` in [0, 1] on the other tracks; None if there are none.
    """
    rows = zip(predicted.by_track.max(axis=1).tolist(), predicted.unfamiliarity, strict=True)
    reasons = [abstention_reason(bundle, *row) for row in rows]
    answered = np.array([reason is None for reason in reasons])
    correct = predicted.by_track.argmax(axis=1) == labels
    return {
        "abstained": int((~answered).sum()),
        "unfamiliar": reasons.count("unfamiliar"),
        "answered_accuracy": float(correct[answered].mean()) if answered.any() else None,
    }


def compare_with_baselines(
    correct: np.ndarray, baselines: Mapping[str, np.ndarray], clusters: np.ndarray | None
) -> list[dict]:
    """Compare a model with baselines on the same tracks.

    Parameters
    ----------
    correct : np.ndarray [shape=(n,), dtype=bool]
        Whether the model classifies each track correctly.
    baselines : mapping of str to np.ndarray [shape=(n,), dtype=bool]
        The same of each baseline, by its name.
    clusters : np.ndarray [shape=(n,)] or None
        The artist of each track, if known.

    Returns
    -------
    list of dict
        ``baseline``, ``accuracy`` with ``accuracy_low`` and ``accuracy_high`` (95 % confidence), ``model_accuracy``,
        and ``probability_model_better`` of a paired bootstrap.
    """
    rows = []
    for name, own in baselines.items():
        low, high = accuracy_interval(own, clusters)
        rows.append(
            {
                "baseline": name,
                "accuracy": float(own.mean()),
                "accuracy_low": low,
                "accuracy_high": high,
                "model_accuracy": float(correct.mean()),
                "probability_model_better": probability_better(correct, own, clusters=clusters),
            }
        )
    return rows


def short_name(baseline: str) -> str:
    """Return a name of a baseline for metrics, the same for all architectures: "linear probe on …": "linear_probe"."""
    return baseline.split(" on ")[0].lower().replace(" ", "_")


def notes_on_baselines(compared: Sequence[Mapping], part: str) -> list[str]:
    """Return a sentence for each baseline that is at least as accurate as the model."""
    return [
        f"{part}: the model does not beat the baseline {row['baseline']}: accuracy {row['model_accuracy']:.1%} against "
        f"{row['accuracy']:.1%}, probability of being better {row['probability_model_better']:.2f}"
        for row in compared
        if row["model_accuracy"] <= row["accuracy"]
    ]


def log_evaluation(evaluation: Evaluation) -> None:
    report, by_track = evaluation.report, evaluation.report["track"]
    part = report["part"].replace("_", " ")
    logger.info(
        f"{part}: accuracy {by_track['accuracy']:.1%} on {by_track['n']} tracks "
        f"(95 % interval {by_track['accuracy_low']:.1%} to {by_track['accuracy_high']:.1%}), "
        f"{report['segment']['accuracy']:.1%} on segments"
    )
    if report["abstained"]:
        answered = report["answered_accuracy"]
        logger.info(
            f"{part}: {report['abstained']} tracks get no genre, {report['unfamiliar']} of them as unfamiliar"
            + ("" if answered is None else f"; accuracy {answered:.1%} on the others")
        )
    for row in report["baselines"]:
        logger.info(
            f"{part}: baseline {row['baseline']}, accuracy {row['accuracy']:.1%} (95 % interval "
            f"{row['accuracy_low']:.1%} to {row['accuracy_high']:.1%}); probability that the model is better "
            f"{row['probability_model_better']:.2f}"
        )
    for note in (*report["notes"], *report["baseline_notes"]):
        logger.info(f"note: {note}")
