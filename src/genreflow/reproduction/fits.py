"""Fit and evaluate one system, and log it to MLflow."""

import logging
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np

from genreflow.evaluation.calibration import softmax, track_probabilities
from genreflow.evaluation.metrics import evaluate
from genreflow.features.store import FeatureStore
from genreflow.models import body_parameters
from genreflow.reproduction.fit_record import TaskSegments, TimedFit, make_record
from genreflow.reproduction.tasks import Task
from genreflow.reproduction.time_budget import Workload, plan_epochs
from genreflow.tracking.lineage import lineage_tags
from genreflow.tracking.runs import LoggedRun, start_run
from genreflow.tracking.store import ensure_experiment, open_client
from genreflow.training.batches import TrainingBatches
from genreflow.training.configuration import build_configuration, fit_configuration
from genreflow.training.data import load_segment_set, load_training_data
from genreflow.training.fit import FitResult, OnEpoch, measure_throughput, predict_logits
from genreflow.training.options import FitOptions
from genreflow.training.params import SegmentParams
from genreflow.training.segment_set import SegmentSet

logger = logging.getLogger(__name__)

EXPERIMENT = "genreflow reproduce"
# Time for measuring the training throughput: at most this share of the time limit, and at most so many seconds.
THROUGHPUT_SHARE, THROUGHPUT_SECONDS = 0.1, 5.0
# Largest number of segments for measuring the inference throughput.
INFERENCE_SEGMENTS = 128


def run_task(task: Task, store: Path, project: Path) -> dict[str, Any]:
    """Fit and evaluate a system, and log it to MLflow.

    Parameters
    ----------
    task : Task
    store : Path
        Directory of the feature store.
    project : Path
        Directory of MLflow's store.

    Returns
    -------
    dict
        The record, ready for JSON.
    """
    begin = time.perf_counter()
    logger.info("%s", task.summary)
    features = FeatureStore.open(store)
    segments = load_segments(task, features)
    client = open_client(project)
    experiment_id = ensure_experiment(client, project, name=EXPERIMENT).experiment_id
    options, throughput = limit_options(task, segments, begin=begin)
    tags = lineage_tags(project, **task.data, **task.split.tags)
    tags |= {"system": task.system, "protocol": task.kind, "task": task.key}
    seconds = task.architecture.protocol.seconds
    params = {"segment_seconds": seconds, "split": task.split.method, **options.model_dump()}
    with start_run(client, experiment_id, task.run_name, params=params, tags=tags) as run:
        fitted = _fit_and_evaluate(task, segments, options, features, run)
    return make_record(
        task, segments, options, fitted, throughput=throughput, seconds=round(time.perf_counter() - begin, 1)
    )


def load_segments(task: Task, store: FeatureStore) -> TaskSegments:
    """Open the segments of a task.

    Raises
    ------
    GenreflowError
        A part has no track with features.
    """
    protocol = task.architecture.protocol
    params = SegmentParams(seconds=protocol.seconds, hop_seconds=protocol.hop_seconds, track_cap=None)
    data = load_training_data(store, task.manifest, task.split, params)
    if task.part == "valid":
        return TaskSegments(data, None)
    test = load_segment_set(store, task.manifest, task.split, task.part, length=data.length, hop=data.hop)
    return TaskSegments(data, test)


def limit_options(task: Task, segments: TaskSegments, *, begin: float) -> tuple[FitOptions, float | None]:
    """Reduce the epochs of a task to its time limit.

    Parameters
    ----------
    task : Task
    segments : TaskSegments
    begin : float [s]
        ``time.perf_counter()`` when the task was started.

    Returns
    -------
    options : FitOptions
    throughput : float > 0 or None [segments/s]
        Of training; None without a time limit, where it is not measured.
    """
    if task.minutes is None:
        return task.options, None
    limit = 60 * task.minutes
    duration = min(THROUGHPUT_SECONDS, THROUGHPUT_SHARE * limit)
    started = time.perf_counter()
    model = build_configuration(segments.data, task.system, {}, seed=task.options.seed)
    train_throughput = measure_throughput(model, segments.data.train, task.options, seconds=duration)
    inference_throughput = _measure_inference(model, segments.data.valid, train_throughput)
    del model
    keras.utils.clear_session()
    logger.info("  training throughput: %.3g segments/s", train_throughput)
    now = time.perf_counter()
    compilation = max(0.0, now - started - duration)  # the fit builds and compiles the model once more
    schedule = plan_epochs(
        limit - (now - begin) - compilation,
        Workload(
            **segments.counts,
            epochs=task.options.epochs,
            batch_size=task.options.batch_size,
            train_throughput=train_throughput,
            inference_throughput=inference_throughput,
        ),
    )
    update = {"epochs": schedule.epochs, "segments_per_epoch": schedule.segments_per_epoch}
    return task.options.model_copy(update=update), train_throughput


def _measure_inference(model: keras.Model, data: SegmentSet, train_throughput: float) -> float:
    """Segments per second in inference, on about as many as the model trains on in a second."""
    segments = data.segments(slice(0, max(1, min(INFERENCE_SEGMENTS, int(train_throughput)))))
    model.predict_on_batch(segments)  # compiles
    begin = time.perf_counter()
    model.predict_on_batch(segments)
    return len(segments) / (time.perf_counter() - begin)


def _fit_and_evaluate(
    task: Task, segments: TaskSegments, options: FitOptions, store: FeatureStore, run: LoggedRun
) -> TimedFit:
    data = segments.data
    epoch_segments = TrainingBatches(data.train, options, classes=len(data.genres)).segments_per_epoch
    epoch_share = epoch_segments / data.train.n_segments
    logger.info(
        "  %s training and %s validation segments: %.3g of %d epochs%s",
        f"{data.train.n_segments:,}",
        f"{data.valid.n_segments:,}",
        options.epochs * epoch_share,
        task.options.epochs,
        "" if options.segments_per_epoch is None else f", as {options.epochs} of {epoch_segments:,} segments",
    )
    model, result = fit_configuration(data, task.system, {}, options, on_epoch=_epoch_logger(task, options, run))
    begin = time.perf_counter()
    metrics = evaluate_task(task, model, result, segments.evaluated, store)
    seconds = time.perf_counter() - begin
    run.log_metrics({task.split.prefixed(f"{task.part}_{name}"): value for name, value in metrics.items()})
    return TimedFit(
        result=result,
        parameters=body_parameters(model),
        metrics=metrics,
        epoch_share=epoch_share,
        validation_seconds=seconds * data.valid.n_segments / segments.evaluated.n_segments,
        run_id=run.run_id,
    )


def _epoch_logger(task: Task, options: FitOptions, run: LoggedRun) -> OnEpoch:
    validation, begin = task.split.prefixed("validation", sep=" "), time.perf_counter()

    def on_epoch(epoch: int, metrics: Mapping[str, float]) -> None:
        run.log_metrics(metrics, epoch)
        remaining = (time.perf_counter() - begin) / (epoch + 1) * (options.epochs - epoch - 1)
        logger.info(
            "  epoch %d/%d: accuracy %.3f, %s segment accuracy %.3f, track accuracy %.3f (%.1f s, about %s left)",
            epoch + 1,
            options.epochs,
            metrics["accuracy"],
            validation,
            metrics["val_accuracy"],
            metrics["val_track_accuracy"],
            metrics["seconds"],
            format_duration(remaining),
        )

    return on_epoch


def evaluate_task(
    task: Task, model: keras.Model, result: FitResult, segments: SegmentSet, store: FeatureStore
) -> dict[str, float]:
    """Evaluate a fitted system.

    Parameters
    ----------
    task : Task
    model : keras.Model
    result : FitResult
    segments : SegmentSet
        To evaluate on.
    store : FeatureStore

    Returns
    -------
    dict
        ``segment_accuracy`` and ``track_accuracy`` in [0, 1], and unless they are those of the best epoch on
        validation, which is what authors report, the 95 % interval ``track_accuracy_low``, ``track_accuracy_high``.
    """
    if task.kind == "own" and task.part == "valid":
        best = int(np.argmax(result.history["val_accuracy"]))
        return {
            "segment_accuracy": result.history["val_accuracy"][best],
            "track_accuracy": result.history["val_track_accuracy"][best],
        }
    probabilities = softmax(predict_logits(model, segments))
    by_track = track_probabilities(probabilities, segments.track, segments.n_tracks)
    hashes = {track_id: task.manifest.by_id[track_id].hash for track_id in task.split.evaluation_tracks}
    tracks = [track_id for track_id, digest in hashes.items() if digest is not None and digest in store]
    groups = np.unique([task.split.groups[track_id] for track_id in tracks], return_inverse=True)[1]
    metrics = evaluate(
        by_track,
        segments.track_labels,
        genres=task.manifest.genres,
        clusters=groups if task.manifest.groups_known else None,
    )
    return {
        "segment_accuracy": float((probabilities.argmax(axis=1) == segments.label).mean()),
        "track_accuracy": metrics["accuracy"],
        "track_accuracy_low": metrics["accuracy_low"],
        "track_accuracy_high": metrics["accuracy_high"],
    }


def format_duration(seconds: float) -> str:
    """A duration as text, such as "95 s", "3 min" or "1.5 h"."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"
