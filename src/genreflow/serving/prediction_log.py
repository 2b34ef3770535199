"""The log of predictions: BentoML's monitoring, with files that can neither break nor slow a response.

BentoML 1.4.39 writes its own log in the thread of the request: a folder that cannot be written makes each response a
500, a full disk cuts lines and prints a traceback for each, nothing limits the size, and `logging.config` of the whole
process is configured again. Its configuration of handlers can change none of this but the number of days.
"""

import atexit
import logging
import queue
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import bentoml
from bentoml.monitoring import MonitorBase

from genreflow.serving.metrics import LOST_RECORDS
from genreflow.serving.prediction_record import PredictionRecord
from genreflow.serving.settings import Settings

if TYPE_CHECKING:  # BentoML's supervisor, which imports this too, needs no predictor
    from genreflow.inference.predictor import Predictor

# BentoML sets this logger up.
logger = logging.getLogger("bentoml.monitoring")

MONITOR = "predictions"
# Predictions that wait to be written; a burst beyond them is lost and counted. With the embedding of musicnn a line has
# about 3 kB.
MAX_WAITING = 2000
# How often old files are looked for while nothing is written, and how long the end of a process waits for the disk [s].
EXPIRE_SECONDS, CLOSE_SECONDS = 600.0, 2.0
# How BentoML describes columns. IDs and times are "features", since it knows features, predictions and targets only.
_PREDICTED = frozenset({"probabilities", "genre", "reason", "confidence", "unfamiliarity"})
_SEQUENCES = frozenset({"means", "deviations", "embedding", "probabilities"})
_NUMBERS = frozenset({"format", "duration", "level", "confidence", "unfamiliarity", "seconds"})


def monitoring(settings: Settings) -> dict[str, Any]:
    """Return BentoML's configuration of its monitoring; that of ``BENTOML_CONFIG`` has priority."""
    if not settings.prediction_log:
        return {"enabled": False}
    options = {
        "directory": settings.prediction_log,
        "days": settings.prediction_log_days,
        "megabytes": settings.prediction_log_megabytes,
    }
    return {"enabled": True, "type": f"{__name__}.PredictionLog", "options": options}


def log_prediction(record: PredictionRecord, predictor: "Predictor") -> None:
    """Log a prediction with BentoML's monitoring. A failure is logged and counted, and nothing is raised."""
    from genreflow.monitoring.logged_prediction import LoggedPrediction

    prediction = record.analysis.prediction
    try:
        logged = LoggedPrediction(
            time=time.time(),
            prediction_id=record.prediction_id,
            request_id=record.request_id or "",
            version=predictor.bundle.version,
            bundle=predictor.bundle_hash,
            duration=prediction.duration,
            inputs=record.analysis.inputs,
            embedding=record.analysis.embedding,
            probabilities=prediction.probabilities,
            genre=prediction.genre,
            reason=prediction.reason,
            confidence=prediction.confidence,
            unfamiliarity=prediction.unfamiliarity,
            seconds=record.seconds,
        )
        with bentoml.monitor(MONITOR) as monitor:
            for name, value in logged.to_fields().items():
                role = "prediction" if name in _PREDICTED else "feature"
                kind = (
                    "numerical_sequence" if name in _SEQUENCES else "numerical" if name in _NUMBERS else "categorical"
                )
                monitor.log(value, name, role, kind)
    except Exception:
        LOST_RECORDS.inc()
        logger.exception("The prediction %s is not logged.", record.prediction_id)


class PredictionLog(MonitorBase[Any]):
    """Hands predictions to a thread that writes them, for ``monitoring.type`` in BentoML's configuration.

    Parameters
    ----------
    name : str
        Of the monitor.
    directory : str
    days : int > 0
    megabytes : float > 0
        As `genreflow.monitoring.log_files.LogWriter`.
    """

    def __init__(self, name: str, directory: str, days: int, megabytes: float, **options: Any) -> None:
        from genreflow.monitoring.log_files import LogWriter

        super().__init__(name, **options)
        self._writer = LogWriter(Path(directory), days=days, max_bytes=int(megabytes * 1e6))
        self._waiting: queue.Queue[Mapping[str, Any] | None] = queue.Queue(MAX_WAITING)
        self._failing = False
        self._thread = threading.Thread(target=self._run, name="prediction-log", daemon=True)
        self._thread.start()
        atexit.register(self.close)

    def export_schema(self, columns_schema: dict[str, dict[str, str]]) -> None:
        """Do nothing: `genreflow.monitoring.logged_prediction` is the schema."""

    def export_data(self, datas: dict[str, Any]) -> None:
        """Take a prediction; if too many wait to be written, it is lost and counted."""
        try:
            self._waiting.put_nowait({name: values[0] for name, values in datas.items()})
        except queue.Full:
            LOST_RECORDS.inc()

    def close(self) -> None:
        """Write what waits, unless the disk takes too long."""
        try:
            self._waiting.put_nowait(None)
        except queue.Full:
            return
        self._thread.join(CLOSE_SECONDS)

    def _run(self) -> None:
        closed = False
        while not closed:
            try:
                rows = [self._waiting.get(timeout=EXPIRE_SECONDS)]
                while not self._waiting.empty():
                    rows.append(self._waiting.get_nowait())
            except queue.Empty:
                self._writer.expire()
                continue
            closed = None in rows
            self._write([row for row in rows if row is not None])

    def _write(self, rows: list[Mapping[str, Any]]) -> None:
        from genreflow.monitoring.logged_prediction import to_line

        try:
            self._writer.append(b"".join(map(to_line, rows)))
        except Exception as error:  # the thread must go on
            LOST_RECORDS.inc(len(rows))
            if not self._failing:  # once, not for each prediction
                reason = getattr(error, "strerror", None) or error
                logger.error("%s: predictions cannot be logged: %s.", self._writer.directory, reason)
            self._failing = True
        else:
            if self._failing:
                logger.warning("%s: predictions are logged again.", self._writer.directory)
            self._failing = False
