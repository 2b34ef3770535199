"""Records predictions of the service in the background, so that no answer waits for a disk, or fails with it."""

import atexit
import hashlib
import io
import logging
import os
import queue
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from genreflow.errors import counted
from genreflow.feedback.feedback_records import FeedbackRecord, FeedbackRecords, now
from genreflow.feedback.feedback_retention import Retention, expire
from genreflow.files import atomic_file

logger = logging.getLogger(__name__)

# Predictions that wait for the disk, and how many bytes of audio in memory; others are not recorded.
MAX_WAITING, MAX_WAITING_BYTES = 64, 32_000_000
# Larger audio is read again from the temporary file that it was received in [B].
MEMORY_BYTES = 2_000_000
_CHUNK = 1 << 20
_EXPIRE_SECONDS = 600.0
# Records are expired also when this share of the size limit was written since.
_EXPIRE_SHARE = 0.05
_LOG_SECONDS = 60.0
# Within this time an answer is sent.
_ANSWER_SECONDS = 0.02
_CLOSE_SECONDS = 2.0
_LONGEST_SUFFIX = 8


@dataclass(frozen=True)
class _Job:
    """A record without the hash of its audio, which is in memory or in a file that this object closes."""

    fields: dict[str, Any]
    data: bytes | None
    descriptor: int | None

    def chunks(self) -> Iterator[bytes]:
        """Yield the audio from its beginning; other readers of the same file are not disturbed."""
        if self.data is not None:
            yield self.data
            return
        assert self.descriptor is not None
        offset = 0
        while chunk := os.pread(self.descriptor, _CHUNK, offset):
            offset += len(chunk)
            yield chunk

    def close(self) -> None:
        if self.descriptor is not None:
            os.close(self.descriptor)


class FeedbackRecorder:
    """Writes a record of each prediction in a thread of its own.

    A prediction is not recorded if too many wait, or if it cannot be written, as on a full disk: feedback about it is
    then refused. That is logged once a minute, and counted.

    Parameters
    ----------
    folder : Path
        See `FeedbackRecords`.
    retention : Retention
    keep_audio : bool
        Whether to keep the audio beside the record.
    count_lost : callable
        Called for each prediction that is not recorded.
    """

    def __init__(
        self, folder: Path, retention: Retention, *, keep_audio: bool, count_lost: Callable[[], object]
    ) -> None:
        self.records = FeedbackRecords(folder)
        self.retention, self.keep_audio, self.count_lost = retention, keep_audio, count_lost
        self._jobs: queue.Queue[_Job | None] = queue.Queue(MAX_WAITING)
        self._lock = threading.Lock()
        self._waiting_bytes = 0
        self._written = 0  # bytes of audio since records were expired
        self._expire_at = 0.0
        self._lost, self._log_at = 0, 0.0
        self._thread = threading.Thread(target=self._run, name="feedback", daemon=True)
        self._thread.start()
        atexit.register(self.close)

    def record(self, result: dict[str, Any], audio: IO[bytes], *, size: int, name: str | None) -> None:
        """Record a prediction, soon; this neither raises nor waits.

        Parameters
        ----------
        result : dict
            The answer, with its ``prediction_id``.
        audio : file object
            The file that was sent.
        size : int >= 0 [B]
            Its size.
        name : str or None
            Its name, of which the suffix is kept.
        """
        try:
            in_memory = size if size <= MEMORY_BYTES else 0
            with self._lock:
                if self._waiting_bytes + in_memory > MAX_WAITING_BYTES:
                    raise queue.Full("too many predictions wait to be recorded")
            job = self._job(result, audio, size, name)
            try:
                self._jobs.put_nowait(job)
            except queue.Full:
                job.close()
                raise queue.Full("too many predictions wait to be recorded") from None
            with self._lock:
                self._waiting_bytes += len(job.data or b"")
        except Exception as error:
            self._report(error)

    def close(self) -> None:
        """Write what waits, for two seconds at most."""
        try:
            self._jobs.put(None, timeout=_CLOSE_SECONDS)
        except queue.Full:
            return
        self._thread.join(_CLOSE_SECONDS)

    def _job(self, result: dict[str, Any], audio: IO[bytes], size: int, name: str | None) -> _Job:
        suffix = Path(name or "").suffix.lower()
        fields = {
            "prediction_id": result["prediction_id"],
            "time": now(),
            "model": {key: result["model"].get(key) for key in ("name", "version")},
            "genre": result["genre"],
            "probabilities": {genre: round(value, 4) for genre, value in result["probabilities"].items()},
            "duration": result["duration"],
            "audio_suffix": suffix
            if suffix.isascii() and suffix[1:].isalnum() and len(suffix) <= _LONGEST_SUFFIX
            else "",
        }
        if size > MEMORY_BYTES:
            return _Job(fields, None, os.dup(audio.fileno()))
        audio.seek(0, io.SEEK_SET)
        return _Job(fields, audio.read(), None)

    def _run(self) -> None:
        while True:
            self._expire()
            try:
                job = self._jobs.get(timeout=_EXPIRE_SECONDS)
            except queue.Empty:
                continue
            if job is None:
                return
            if self._jobs.empty():  # otherwise this thread would take the Python lock while the answer is sent
                time.sleep(_ANSWER_SECONDS)
            try:
                self._write(job)
            except Exception as error:
                self._report(error)
            finally:
                job.close()
                with self._lock:
                    self._waiting_bytes -= len(job.data or b"")

    def _write(self, job: _Job) -> None:
        digest = hashlib.sha256()
        for chunk in job.chunks():
            digest.update(chunk)
        record = FeedbackRecord(**job.fields, audio_hash=digest.hexdigest())
        self.records.add(record)
        if self.keep_audio:
            with (
                atomic_file(self.records.path(record, f".audio{record.audio_suffix}")) as temporary,
                temporary.open("wb") as file,
            ):
                for chunk in job.chunks():
                    file.write(chunk)
                self._written += file.tell()

    def _expire(self) -> None:
        if time.monotonic() < self._expire_at and self._written < _EXPIRE_SHARE * self.retention.max_bytes:
            return
        self._expire_at, self._written = time.monotonic() + _EXPIRE_SECONDS, 0
        try:
            expire(self.records.folder, self.retention)
        except OSError as error:
            self._log(error)

    def _report(self, error: Exception) -> None:
        self._lost += 1
        self.count_lost()
        self._log(error)

    def _log(self, error: Exception) -> None:
        if time.monotonic() >= self._log_at:
            self._log_at = time.monotonic() + _LOG_SECONDS
            logger.warning(
                "%s: %s not recorded for feedback since the start; the last error is %s: %s",
                self.records.folder, counted(self._lost, "prediction was", "predictions were"),
                type(error).__name__, error,
            )  # fmt: skip
