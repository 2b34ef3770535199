"""One fit of the reproduction, from its tracks to its record."""

import resource
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import keras
import numpy as np

from genreflow.evaluation.calibration import softmax, track_probabilities
from genreflow.evaluation.metrics import evaluate
from genreflow.features.store import FeatureStore
from genreflow.models import body_parameters
from genreflow.reproduction.budget import plan
from genreflow.reproduction.tasks import Task
from genreflow.tracking.lineage import lineage_tags
from genreflow.tracking.runs import LoggedRun, start_run
from genreflow.tracking.store import ensure_experiment, open_client
from genreflow.training.batches import TrainingBatches
from genreflow.training.configuration import build_configuration, fit_configuration
from genreflow.training.data import TrainingData, load_segment_set, load_training_data
from genreflow.training.fit import FitResult, measure_throughput, predict_logits
from genreflow.training.options import FitOptions
from genreflow.training.params import SegmentParams
from genreflow.training.segment_set import SegmentSet

EXPERIMENT = "genreflow reproduce"
# Of a budget, at most this share is for measuring the rate, and not more than these seconds.
RATE_SHARE, RATE_SECONDS = 0.1, 5.0
# Segments of which the rate is measured when nothing is learnt, at most.
ANSWERED_AT_ONCE = 128


def run_task(task: Task, store: Path, project: Path, say: Callable[[str], None]) -> dict:
    """Fit a system, measure it, and write it down in MLflow.

    Parameters
    ----------
    task : Task
    store : Path
        Folder of the feature store.
    project : Path
        Where MLflow's store lies.
    say : callable
        Takes lines of progress.

    Returns
    -------
    dict
        The record, ready for JSON.
    """
    begin = time.perf_counter()
    features = FeatureStore.open(store)
    data, measured = _load(task, features)
    client = open_client(project)
    experiment = ensure_experiment(client, project, name=EXPERIMENT)
    tags = lineage_tags(project, **task.data, **task.split.tags) | {
        "system": task.system,
        "protocol": task.kind,
        "task": task.key,
    }
    _end_lost(client, experiment.experiment_id, task.key)
    options, rate = _affordable(task, data, measured, begin)
    a_round = TrainingBatches(data.train, options, classes=len(data.genres)).segments_per_epoch_per_epoch
    share = a_round / data.train.n_segments
    sizes = f"{data.train.n_segments:,} segments train, {data.valid.n_segments:,} validate"
    pace = "" if rate is None else f", {rate:,.{0 if rate > 20 else 1}f} segments a second"
    rounds = "" if options.segments_per_epoch is None else f", in {options.epochs} rounds"
    say(f"  {sizes}{pace}: {options.epochs * share:.3g} of {task.options.epochs} epochs{rounds}")

    params = {"segment_seconds": task.row.protocol.seconds, "split": task.split.method, **options.model_dump()}
    with start_run(client, experiment.experiment_id, task.title, params=params, tags=tags) as run:
        model, result = fit_configuration(data, task.system, {}, options, on_epoch=_watch(run, task, options, say))
        answered = time.perf_counter()
        figures = _figures(task, model, result, measured or data.valid, features)
        answered = time.perf_counter() - answered
        names = {name: task.split.prefixed(f"{task.part}_{name}") for name in figures}
        run.log_metrics({names[name]: value for name, value in figures.items()})
    validation = answered * data.valid.n_segments / (measured or data.valid).n_segments
    return {
        "system": task.system,
        "protocol": task.kind,
        "key": task.key,
        "status": "finished",
        "leaking": task.split.leaking,
        "reported": task.row.reported,
        "parameters": body_parameters(model),
        "part": task.part,
        "split": task.split.method,
        **figures,
        "rounds": result.epochs,
        "epochs_done": round(result.epochs * share, 3),
        "epochs_wanted": task.options.epochs,
        "best_epoch": round((result.best_epoch + 1) * share, 3),
        "seconds_an_epoch": round(_seconds_an_epoch(result.history["seconds"], share, validation), 2),
        "seconds": round(time.perf_counter() - begin, 1),
        "minutes": task.minutes,
        "measure_throughput": rate and round(rate, 1),
        "peak_memory_mib": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
        "segment_seconds": task.row.protocol.seconds,
        "genres": list(task.manifest.genres),
        "tracks": {part: len(ids) for part, ids in task.split.parts.items()},
        "segments": {
            "train": data.train.n_segments,
            "valid": data.valid.n_segments,
            "test": 0 if measured is None else measured.n_segments,
        },
        "options": options.model_dump(),
        "data": task.data,
        "mlflow_run": run.run_id,
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "versions": {"keras": keras.__version__, keras.backend.backend(): version(keras.backend.backend())},
    }


def _load(task: Task, store: FeatureStore) -> tuple[TrainingData, SegmentSet | None]:
    """Segments to train and validate with, and those to measure on where that is another part."""
    protocol = task.row.protocol
    segments = SegmentParams(seconds=protocol.seconds, hop_seconds=protocol.hop_seconds)
    data = load_training_data(store, task.manifest, task.split, segments)
    if task.part == "valid":
        return data, None
    return data, load_segment_set(store, task.manifest, task.split, task.part, length=data.length, hop=data.hop)


def _affordable(
    task: Task, data: TrainingData, measured: SegmentSet | None, begin: float
) -> tuple[FitOptions, float | None]:
    """The options, cut to the minutes that there are, and the rate [segments/s] that was measured for it."""
    if task.minutes is None:
        return task.options, None
    budget = 60 * task.minutes
    asked = min(RATE_SECONDS, RATE_SHARE * budget)
    started = time.perf_counter()
    model = build_configuration(data, task.system, {}, seed=task.options.seed)
    rate = measure_throughput(model, data.train, task.options, seconds=asked)
    answered = _answered_a_second(model, data.valid, rate)
    del model
    keras.utils.clear_session()
    now = time.perf_counter()
    again = max(0.0, now - started - asked)  # the model is built and compiled once more for the fit
    chosen = plan(
        budget - (now - begin) - again,
        rate=rate,
        answered=answered,
        train=data.train.n_segments,
        valid=data.valid.n_segments,
        measured=0 if measured is None else measured.n_segments,
        epochs=task.options.epochs,
        batch_size=task.options.batch_size,
    )
    cut = {"epochs": chosen.rounds, "segments_per_epoch": chosen.segments}
    return task.options.model_copy(update=cut), rate


def _answered_a_second(model: keras.Model, data: SegmentSet, rate: float) -> float:
    """Segments that the model answers in a second, from about as many as it learns in one."""
    some = data.segments(slice(0, max(1, min(ANSWERED_AT_ONCE, int(rate)))))
    model.predict_on_batch(some)  # compiles
    begin = time.perf_counter()
    model.predict_on_batch(some)
    return len(some) / (time.perf_counter() - begin)


def _watch(
    run: LoggedRun, task: Task, options: FitOptions, say: Callable[[str], None]
) -> Callable[[int, Mapping[str, float]], None]:
    validation, begin = task.split.prefixed("validation", sep=" "), time.perf_counter()

    def on_epoch(epoch: int, metrics: Mapping[str, float]) -> None:
        run.log_metrics(metrics, epoch)
        left = (time.perf_counter() - begin) / (epoch + 1) * (options.epochs - epoch - 1)
        say(
            f"  {epoch + 1:3d}/{options.epochs}: accuracy {metrics['accuracy']:.3f}, {validation} "
            f"{metrics['val_accuracy']:.3f} of segments, {metrics['val_track_accuracy']:.3f} of tracks "
            f"({metrics['seconds']:.1f} s, about {in_minutes(left)} left)"
        )

    return on_epoch


def _figures(
    task: Task, model: keras.Model, result: FitResult, measured: SegmentSet, store: FeatureStore
) -> dict[str, float]:
    """Accuracies, by segment and by track, with the interval of the latter where it is honest."""
    if task.kind == "own" and task.part == "valid":  # what their authors report: the best that validation ever gave
        best = int(np.argmax(result.history["val_accuracy"]))
        return {
            "segment_accuracy": result.history["val_accuracy"][best],
            "track_accuracy": result.history["val_track_accuracy"][best],
        }
    probabilities = softmax(predict_logits(model, measured))
    by_track = track_probabilities(probabilities, measured.track, measured.n_tracks)
    tracks = [track_id for track_id in task.split.evaluation_tracks if task.manifest.by_id[track_id].hash in store]
    groups = np.unique([task.split.groups[track_id] for track_id in tracks], return_inverse=True)[1]
    found = evaluate(
        by_track,
        measured.track_labels,
        genres=task.manifest.genres,
        clusters=groups if task.manifest.groups_known else None,
    )
    return {
        "segment_accuracy": float((probabilities.argmax(axis=1) == measured.label).mean()),
        "track_accuracy": found["accuracy"],
        "track_accuracy_low": found["accuracy_low"],
        "track_accuracy_high": found["accuracy_high"],
    }


def _seconds_an_epoch(seconds: list[float], share: float, validation: float) -> float:
    """An epoch over all segments and its validation; the first round compiles, and counts only where it is alone."""
    typical = float(np.median(seconds[1:] or seconds))
    return max(0.0, typical - validation) / share + validation


def _end_lost(client, experiment_id: str, key: str) -> None:
    """End the runs that a killed process left: they would look as if they were still running."""
    for run in client.search_runs([experiment_id], f"tags.task = '{key}' and status = 'RUNNING'"):
        client.set_tag(run.info.run_id, "error", "its process ended without a word")
        client.set_terminated(run.info.run_id, "FAILED")


def in_minutes(seconds: float) -> str:
    """A duration for people."""
    return (
        f"{seconds:.0f} s"
        if seconds < 100
        else f"{seconds / 60:.0f} min"
        if seconds < 6000
        else f"{seconds / 3600:.1f} h"
    )
