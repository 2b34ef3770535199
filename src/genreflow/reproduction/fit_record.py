"""The record of a finished fit: what `reproduce` keeps of it."""

import resource
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any

import keras
import numpy as np

from genreflow.reproduction.tasks import Task
from genreflow.training.data import TrainingData
from genreflow.training.fit import FitResult
from genreflow.training.options import FitOptions
from genreflow.training.segment_set import SegmentSet


@dataclass(frozen=True)
class TaskSegments:
    """Segments of a task.

    Parameters
    ----------
    data : TrainingData
    test : SegmentSet or None
        None: the system is evaluated on the validation segments.
    """

    data: TrainingData
    test: SegmentSet | None

    @property
    def evaluated(self) -> SegmentSet:
        """The segments that the system is evaluated on."""
        return self.data.valid if self.test is None else self.test

    @property
    def counts(self) -> dict[str, int]:
        """Number of segments by part."""
        return {
            "train": self.data.train.n_segments,
            "valid": self.data.valid.n_segments,
            "test": 0 if self.test is None else self.test.n_segments,
        }


@dataclass(frozen=True)
class TimedFit:
    """A finished fit.

    Parameters
    ----------
    result : FitResult
    parameters : int > 0
        Of the body.
    metrics : dict of str to float
        See `evaluate_task`.
    epoch_share : float in (0, 1]
        Length of an epoch, as a share of all training segments.
    validation_seconds : float > 0 [s]
        Duration of a validation.
    run_id : str
    """

    result: FitResult
    parameters: int
    metrics: dict[str, float]
    epoch_share: float
    validation_seconds: float
    run_id: str


def make_record(
    task: Task,
    segments: TaskSegments,
    options: FitOptions,
    fitted: TimedFit,
    *,
    throughput: float | None,
    seconds: float,
) -> dict[str, Any]:
    """Make the record of a finished task.

    Parameters
    ----------
    task : Task
    segments : TaskSegments
    options : FitOptions
        Those that it was fitted with.
    fitted : TimedFit
    throughput : float > 0 or None [segments/s]
        Of training, where it was measured.
    seconds : float > 0 [s]
        Duration of the task.

    Returns
    -------
    dict
        Ready for JSON. ``epochs_done`` and ``best_epoch`` are passes over all training segments, however long an epoch
        was; ``validations`` is the number of epochs.
    """
    result, share, backend = fitted.result, fitted.epoch_share, keras.backend.backend()
    return {
        "system": task.system,
        "protocol": task.kind,
        "key": task.key,
        "status": "finished",
        "leaking": task.split.leaking,
        "reported": task.architecture.reported,
        "parameters": fitted.parameters,
        "part": task.part,
        "split": task.split.method,
        **fitted.metrics,
        "validations": result.epochs,
        "epochs_done": round(result.epochs * share, 3),
        "epochs_published": task.options.epochs,
        "best_epoch": round((result.best_epoch + 1) * share, 3),
        "seconds_per_epoch": round(_seconds_per_epoch(result.history["seconds"], share, fitted.validation_seconds), 2),
        "seconds": seconds,
        "minutes": task.minutes,
        "segments_per_second": throughput and round(throughput, 1),
        "peak_memory_mib": round(peak_memory_mib()),
        "segment_seconds": task.architecture.protocol.seconds,
        "genres": list(task.manifest.genres),
        "tracks": {part: len(ids) for part, ids in task.split.parts.items()},
        "segments": segments.counts,
        "options": options.model_dump(),
        "data": task.data,
        "mlflow_run": fitted.run_id,
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "versions": {"keras": keras.__version__, backend: version(backend)},
    }


def _seconds_per_epoch(seconds: list[float], share: float, validation: float) -> float:
    """Duration of a pass over all training segments with a validation; the first epoch compiles, so is left out."""
    typical = float(np.median(seconds[1:] or seconds))
    return max(0.0, typical - validation) / share + validation


def peak_memory_mib() -> float:
    """Peak resident memory of this process [MiB]."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 2**10)  # bytes on macOS, KiB on Linux
