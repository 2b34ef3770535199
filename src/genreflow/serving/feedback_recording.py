"""Which recorder of predictions the service has, by its settings."""

from pathlib import Path

from genreflow.feedback.feedback_recorder import FeedbackRecorder
from genreflow.feedback.feedback_retention import Retention
from genreflow.serving.metrics import UNRECORDED
from genreflow.serving.settings import Settings


def feedback_recorder(settings: Settings) -> FeedbackRecorder | None:
    """Return the recorder of a worker process; None if the service takes no feedback."""
    if not settings.feedback_dir:
        return None
    retention = Retention(days=settings.feedback_days, max_bytes=int(settings.feedback_megabytes * 1e6))
    return FeedbackRecorder(
        Path(settings.feedback_dir),
        retention,
        keep_audio=settings.feedback_audio,
        count_lost=UNRECORDED.inc,
    )
