"""Prometheus metrics of the service, in ``/metrics`` beside BentoML's own.

The supervisor of BentoML starts every worker with ``PROMETHEUS_MULTIPROC_DIR`` set, so that prometheus_client stores
each worker's values there and ``/metrics`` of any worker reports their sum.
"""

from typing import TYPE_CHECKING

from prometheus_client import Counter, Histogram

if TYPE_CHECKING:  # BentoML's supervisor, which imports this too, needs no predictor
    from genreflow.inference.predictor import Prediction

PREDICTIONS = Counter("genreflow_predictions_total", "Classified tracks, by genre.", ["genre"])
ABSTENTIONS = Counter("genreflow_abstentions_total", "Tracks on which the model abstained.")
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


def count_prediction(prediction: "Prediction") -> None:
    """Count one classified track."""
    if prediction.genre is None:
        ABSTENTIONS.inc()
    else:
        PREDICTIONS.labels(prediction.genre).inc()
    CONFIDENCE.observe(prediction.confidence)
    DURATION.observe(prediction.duration)
