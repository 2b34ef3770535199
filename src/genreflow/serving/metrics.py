"""What the service counts beside BentoML's own figures, for ``/metrics``."""

from functools import cache

CONFIDENCE_BUCKETS = tuple(round(0.1 * step, 1) for step in range(1, 11))
DURATION_BUCKETS = (5, 15, 30, 60, 120, 300, 600, 900, 1800, 3600)


class Metrics:
    """Counters of answers and refusals; see `metrics`.

    Attributes
    ----------
    predictions : by genre, those on which the model abstained not among them
    abstentions, confidence, duration : of every answer
    failures : files that could not be classified, by code
    refused : requests answered with an error, by code
    """

    def __init__(self) -> None:
        # Only now: a worker of BentoML names the folder that its processes share after it has imported the service.
        from prometheus_client import Counter, Histogram

        self.predictions = Counter("genreflow_predictions_total", "Tracks given a genre.", ["genre"])
        self.abstentions = Counter("genreflow_abstentions_total", "Tracks on which the model was not sure.")
        self.confidence = Histogram(
            "genreflow_confidence", "Highest probability of a track.", buckets=CONFIDENCE_BUCKETS
        )
        self.duration = Histogram("genreflow_audio_seconds", "Length of a track classified.", buckets=DURATION_BUCKETS)
        self.failures = Counter("genreflow_failures_total", "Files that could not be classified.", ["code"])
        self.refused = Counter("genreflow_refused_requests_total", "Requests answered with an error.", ["code"])

    def count(self, answer: dict) -> None:
        """Count an answer, as `genreflow.inference.predictor.Prediction.to_dict` gives it."""
        if answer["genre"] is None:
            self.abstentions.inc()
        else:
            self.predictions.labels(answer["genre"]).inc()
        self.confidence.observe(answer["confidence"])
        self.duration.observe(answer["duration"])


@cache
def metrics() -> Metrics:
    """Those of this process."""
    return Metrics()
