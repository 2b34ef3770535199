"""Prometheus metrics of the service, in ``/metrics`` beside BentoML's own.

The supervisor of BentoML starts every worker with ``PROMETHEUS_MULTIPROC_DIR`` set, so that prometheus_client stores
each worker's values there and ``/metrics`` of any worker reports their sum.
"""

import os
from pathlib import Path
from typing import TYPE_CHECKING

from prometheus_client import Counter, Gauge, Histogram

from genreflow.errors import GenreflowError
from genreflow.monitoring.last_check import read_last_check
from genreflow.serving.worker import ending_service_on_error, start_errors

if TYPE_CHECKING:  # BentoML's supervisor, which imports this too, needs no predictor
    from genreflow.inference.prediction import Prediction

# Files of one process in which prometheus_client stores its metrics and BentoML's, and their size [B]: about four times
# of what they hold when every route has had every response.
_FILES, _FILE_BYTES = ("counter", "gauge_all", "gauge_livesum", "gauge_mostrecent", "histogram"), 1 << 18


def reserve_files() -> None:
    """Write the files of this process's metrics at their full size; in a process without such files, do nothing.

    prometheus_client maps these files into memory, with holes that are filled when a value is new. On a full disk that
    kills the process (SIGBUS), and without a free file descriptor a file that must grow is unusable ever after. Files
    that are there already, it uses as they are.
    """
    directory = os.environ.get("PROMETHEUS_MULTIPROC_DIR")
    if directory:
        for kind in _FILES:
            path = Path(directory, f"{kind}_{os.getpid()}.db")
            try:
                path.write_bytes(bytes(_FILE_BYTES))
            except OSError as error:
                raise GenreflowError(f"{path}: must be writable, for metrics; got {error.strerror}.") from error


with ending_service_on_error(), start_errors():
    reserve_files()  # before the first metric

PREDICTIONS = Counter("genreflow_predictions_total", "Classified tracks, by genre.", ["genre"])
ABSTENTIONS = Counter("genreflow_abstentions_total", "Tracks that got no genre, by reason.", ["reason"])
CONFIDENCE = Histogram(
    "genreflow_confidence",
    "Highest probability of a track.",
    buckets=tuple(round(0.1 * step, 1) for step in range(1, 11)),
)
DURATION = Histogram(
    "genreflow_audio_seconds",
    "Duration of a classified track.",
    buckets=(5, 15, 30, 60, 120, 300, 600, 900, 1800, 3600),
)
FAILURES = Counter("genreflow_failures_total", "Files that could not be classified, by error code.", ["code"])
ERRORS = Counter("genreflow_refused_requests_total", "Requests answered with an error, by error code.", ["code"])
LOST_RECORDS = Counter("genreflow_lost_log_records_total", "Predictions that should be in the log, and are not.")
# All workers read the same file, and the one that answers has read it last.
DRIFT_DETECTED = Gauge(
    "genreflow_drift_detected",
    "Whether the last check of the model that is served found drift.",
    multiprocess_mode="mostrecent",
)
DRIFT_CHECKED = Gauge(
    "genreflow_drift_checked_timestamp_seconds",
    "Time of that check, in seconds since the epoch; 0 if there was none.",
    multiprocess_mode="mostrecent",
)
UNRECORDED = Counter("genreflow_unrecorded_predictions_total", "Predictions that no feedback can be given about.")


def count_prediction(prediction: "Prediction") -> None:
    """Count one classified track."""
    if prediction.genre is None:
        ABSTENTIONS.labels(prediction.reason).inc()
    else:
        PREDICTIONS.labels(prediction.genre).inc()
    CONFIDENCE.observe(prediction.confidence)
    DURATION.observe(prediction.duration)


class LastCheck:
    """The last check for drift of the model that is served.

    Attributes
    ----------
    bundle_hash : str
        Of that model; checks of others do not count.
    """

    bundle_hash = ""

    def show(self, path: Path) -> None:
        """Set the metrics to what the file of the last check says, before they are reported."""
        found, checked = read_last_check(path, self.bundle_hash) or (False, 0.0)
        DRIFT_DETECTED.set(found)
        DRIFT_CHECKED.set(checked)


LAST_CHECK = LastCheck()
