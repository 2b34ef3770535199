"""Writes to MLflow from a background thread: queued, batched, and retried while the store is unreachable."""

import logging
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from mlflow import MlflowClient
from mlflow.entities import DatasetInput, Metric, Param, RunTag
from mlflow.exceptions import MlflowException

from genreflow.tracking.failures import UNREACHABLE, WriteFailure, classify
from genreflow.tracking.retries import limit_retries
from genreflow.tracking.store import is_reachable, without_credentials

logger = logging.getLogger(__name__)

# Metric values are collected for this long and written together: the UI shows curves that grow, at the cost of few
# writes.
FLUSH_INTERVAL_S = 2.0
# How long `close` waits for a store that does not answer.
CLOSE_TIMEOUT_S = 120.0
# Pause between attempts, doubled each time, while the store is unreachable.
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.25, 5.0
# Attempts at a write that a reachable store fails at.
MAX_ATTEMPTS = 3
# MLflow's limits per call of `log_batch`.
MAX_PARAMS_PER_BATCH, MAX_TAGS_PER_BATCH, MAX_METRICS_PER_BATCH = 100, 100, 1000
THREAD_NAME = "genreflow MLflow writer"


@dataclass(eq=False)
class RunHandle:
    """A run that is written to.

    Parameters
    ----------
    label : str
        Name in log messages, such as "trial 3".
    run_id : str or None
        None until MLflow has created the run; writes that are queued after its creation find it set.
    """

    label: str
    run_id: str | None = None


@dataclass(frozen=True)
class _Write:
    call: Callable[[], object]
    label: str
    metric_values: int = 0


class MlflowWriter:
    """A queue of writes to MLflow, performed in order by one background thread.

    A write that fails because the store is unreachable is retried, and all others wait behind it. One that the store
    refuses is dropped and reported. No method waits for the store or raises its exceptions, except that `close` waits
    for a limited time.

    MLflow's own asynchronous logging does not serve: it hands batches to ten threads, so that their order is lost,
    drops a batch that failed, and does not create or end runs.

    Parameters
    ----------
    client : MlflowClient
    flush_interval : float >= 0 [s]
        How long metric values are collected before they are written together.

    Notes
    -----
    Calls `genreflow.tracking.retries.limit_retries`.
    """

    def __init__(self, client: MlflowClient, *, flush_interval: float = FLUSH_INTERVAL_S) -> None:
        self.client = client
        self._flush_interval = flush_interval
        self._queue: deque[_Write] = deque()
        self._pending: dict[RunHandle, list[Metric]] = {}
        self._flush_at = 0.0
        self._changed = threading.Condition()
        self._closing, self._abandoned = threading.Event(), threading.Event()
        self._unreachable, self._outage = False, "does not answer"
        self._lost: list[_Write] = []
        self._closed: int | None = None
        self._thread: threading.Thread | None = None
        limit_retries()

    def submit(self, call: Callable[[], object], *, label: str, metric_values: int = 0) -> None:
        """Queue any call.

        Parameters
        ----------
        call : callable
            Must be idempotent: it is repeated if it fails, perhaps half-way.
        label : str
            What it writes, such as "trial 3", for the report of lost writes.
        metric_values : int >= 0
            How many metric values it writes, for the same report.
        """
        with self._changed:
            self._enqueue(_Write(call, label, metric_values))

    def log_metrics(self, run: RunHandle, metrics: Mapping[str, float], step: int = 0) -> None:
        """Add a value to each metric, with the present time; written after `flush_interval`, or when the run ends."""
        values = [Metric(name, float(value), now_ms(), int(step)) for name, value in metrics.items()]
        with self._changed:
            if not self._pending:
                self._flush_at = time.monotonic() + self._flush_interval
            self._pending.setdefault(run, []).extend(values)
            self._start()  # also wakes it, to wait for the flush

    def log_params(self, run: RunHandle, params: Mapping[str, object]) -> None:
        """Write parameters as text; MLflow does not let them change later."""
        written = [Param(name, str(value)) for name, value in params.items()]
        for start in range(0, len(written), MAX_PARAMS_PER_BATCH):
            batch = written[start : start + MAX_PARAMS_PER_BATCH]
            self.submit(partial(self._log_batch, run, params=batch), label=run.label)

    def set_tags(self, run: RunHandle, tags: Mapping[str, object]) -> None:
        """Write tags as text."""
        written = [RunTag(name, str(value)) for name, value in tags.items()]
        for start in range(0, len(written), MAX_TAGS_PER_BATCH):
            batch = written[start : start + MAX_TAGS_PER_BATCH]
            self.submit(partial(self._log_batch, run, tags=batch), label=run.label)

    def log_inputs(self, run: RunHandle, inputs: list[DatasetInput]) -> None:
        """Write which datasets a run used."""

        def call() -> None:
            try:
                self.client.log_inputs(run.run_id, inputs)
            except MlflowException as error:
                if error.get_http_status_code() >= 500:
                    raise
                self.client.log_inputs(run.run_id, inputs)  # another worker has just created the same dataset

        self.submit(call, label=run.label)

    def log_artifacts(self, run: RunHandle, path: Path, artifact_path: str | None) -> None:
        """Copy a file or the content of a folder to a folder of a run's artifacts, or to their root."""
        copy = self.client.log_artifacts if path.is_dir() else self.client.log_artifact
        self.submit(
            lambda: copy(run.run_id, str(path), artifact_path),
            label=f"{run.label} ({path})",
        )

    def end_run(self, run: RunHandle, status: str, *, end_time: int | None = None) -> None:
        """Write the last metric values, and end a run as FINISHED, KILLED or FAILED.

        Parameters
        ----------
        run : RunHandle
        status : str
        end_time : int, optional [ms since the epoch]
            By default now.
        """
        end_time = now_ms() if end_time is None else end_time
        with self._changed:
            self._flush(run)
        self.submit(lambda: self.client.set_terminated(run.run_id, status, end_time=end_time), label=run.label)

    def close(self, *, timeout: float = CLOSE_TIMEOUT_S) -> int:
        """Wait until everything is written, and log what could not be.

        Parameters
        ----------
        timeout : float [s]
            It begins anew with each write that succeeds.

        Returns
        -------
        int
            Number of lost writes, those that the store refused included.
        """
        if self._closed is not None:
            return self._closed
        with self._changed:
            self._flush_all()
            self._closing.set()
            self._changed.notify_all()
        self._wait_for_writes(timeout)
        with self._changed:
            self._abandoned.set()
            waiting = list(self._queue)
            lost = [*self._lost, *waiting]
            self._closed = len(lost)
        if lost:
            reason = f"{self._outage} for {timeout:g} s" if waiting else "refused them"
            logger.warning("MLflow at %s %s; %s", self._address, reason, _describe(lost))
        return self._closed

    @property
    def _address(self) -> str:
        return without_credentials(self.client.tracking_uri)

    def _start(self) -> None:
        """Start the thread, or wake it; the lock is held."""
        if self._closed is not None:
            raise RuntimeError("the writer is closed; its thread has ended")
        if self._thread is None:
            _silence_retries()
            # A daemon: the end of the process does not wait for an unreachable store.
            self._thread = threading.Thread(target=self._work, name=THREAD_NAME, daemon=True)
            self._thread.start()
        self._changed.notify_all()

    def _enqueue(self, write: _Write) -> None:
        self._queue.append(write)
        self._start()

    def _flush(self, run: RunHandle) -> None:
        """Queue the pending metric values of a run, in batches; the lock is held."""
        values = self._pending.pop(run, [])
        for start in range(0, len(values), MAX_METRICS_PER_BATCH):
            batch = values[start : start + MAX_METRICS_PER_BATCH]
            self._enqueue(_Write(partial(self._log_batch, run, metrics=batch), run.label, len(batch)))

    def _log_batch(self, run: RunHandle, **entities: Sequence[Metric] | Sequence[Param] | Sequence[RunTag]) -> None:
        self.client.log_batch(run.run_id, **entities)

    def _flush_all(self) -> None:
        for run in list(self._pending):
            self._flush(run)

    def _wait_for_writes(self, timeout: float) -> None:
        left, deadline = len(self._queue), time.monotonic() + timeout
        while self._thread is not None and self._thread.is_alive() and time.monotonic() < deadline:
            self._thread.join(min(timeout, FIRST_PAUSE_S))
            if len(self._queue) < left:
                left, deadline = len(self._queue), time.monotonic() + timeout

    def _work(self) -> None:
        while (write := self._next()) is not None:
            failure = self._write(write)
            with self._changed:
                if self._abandoned.is_set():
                    return
                self._queue.popleft()
                if failure is not None:
                    self._lost.append(write)
                    if len(self._lost) == 1:  # the others are counted when the writer is closed
                        logger.warning(
                            "MLflow at %s refused a write of %s: %s", self._address, write.label, failure.reason
                        )

    def _next(self) -> _Write | None:
        """Return the oldest write, which stays in the queue; None if there will be no more."""
        with self._changed:
            while not self._abandoned.is_set():
                if self._queue:
                    return self._queue[0]
                if self._closing.is_set():
                    return None
                remaining = self._flush_at - time.monotonic() if self._pending else None
                if remaining is not None and remaining <= 0:
                    self._flush_all()
                else:
                    self._changed.wait(remaining)
            return None

    def _write(self, write: _Write) -> WriteFailure | None:
        """Perform a write, with retries; return why it failed for good, or None."""
        pause, attempts = FIRST_PAUSE_S, 0
        while True:
            failure = self._attempt(write)
            if failure is None:
                self._log_recovery()
                return None
            attempts += not failure.unreachable
            if not failure.transient or attempts >= MAX_ATTEMPTS or self._abandoned.is_set():
                return failure
            self._log_outage(failure)
            self._pause(pause)
            pause = min(2 * pause, LONGEST_PAUSE_S)

    def _attempt(self, write: _Write) -> WriteFailure | None:
        if not is_reachable(self.client.tracking_uri):  # MLflow itself takes some seconds to find out
            return UNREACHABLE
        try:
            write.call()
        except Exception as error:  # must not end the thread
            return classify(error, self.client.tracking_uri)
        return None

    def _pause(self, seconds: float) -> None:
        if self._closing.is_set():
            self._abandoned.wait(FIRST_PAUSE_S)
        else:
            self._closing.wait(seconds)

    def _log_outage(self, failure: WriteFailure) -> None:
        if not self._unreachable:
            self._unreachable = True
            self._outage = "does not answer" if failure is UNREACHABLE else f"fails ({failure.reason})"
            logger.warning("MLflow at %s %s; %d writes are waiting", self._address, self._outage, len(self._queue))

    def _log_recovery(self) -> None:
        if self._unreachable:
            self._unreachable = False
            logger.info("MLflow at %s is back; writing the %d writes that waited", self._address, len(self._queue))


def now_ms() -> int:
    """Return the present time as MLflow counts it, in milliseconds since the epoch."""
    return int(time.time() * 1000)


def _describe(lost: list[_Write]) -> str:
    metric_values: Counter[str] = Counter()
    for write in lost:
        metric_values[write.label] += write.metric_values
    parts = [f"{label} ({count} metric values)" if count else label for label, count in metric_values.items()]
    number = "1 write is" if len(lost) == 1 else f"{len(lost)} writes are"
    return f"{number} lost: {', '.join(parts)}"


class _NotFromWriter(logging.Filter):
    """Drops what MLflow and urllib3 log about each failed attempt: the writer logs one line for all of them."""

    def filter(self, record: logging.LogRecord) -> bool:
        return record.threadName != THREAD_NAME


_NOT_FROM_WRITER = _NotFromWriter()


def _silence_retries() -> None:
    for name in ("mlflow.store.db.utils", "urllib3.connectionpool"):
        logging.getLogger(name).addFilter(_NOT_FROM_WRITER)  # adding it twice has no effect
