"""Writes to MLflow that wait while its store is away, so that training never does."""

import logging
import os
import threading
import time
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass

import sqlalchemy.exc
from mlflow.exceptions import MlflowException

from genreflow.tracking.store import answers, shown

# Between two tries, growing from the first to the last.
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.25, 5.0
# So often may a store that answers fail at one and the same write.
TRIES = 3
THREAD = "genreflow outbox"
# MLflow itself tries a request again for four minutes, at last every two, so that a server that went in the middle of
# one would be back for long before it is noticed. Of these limits a user's own are kept.
LIMITS = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "30",
}
# A store that is busy or over its limits for now: request timeout, too many requests, unavailable, gateway timeout.
FOR_NOW = (408, 429, 503, 504)


@dataclass(frozen=True)
class Write:
    """Something to be written.

    Parameters
    ----------
    call : callable
        Called again after it failed half-way, so that doing it twice must be the same as doing it once.
    of : str
        Whose it is, such as "trial 3": for the report of what was lost.
    points : int >= 0
        Of learning curves in it.
    """

    call: Callable[[], object]
    of: str
    points: int = 0


class Outbox:
    """A queue of writes to MLflow, done one after the other by a thread of its own.

    A write that fails because the store is away is tried again, and all behind it wait; one that the store refuses is
    dropped and counted. Nothing here waits for the store or raises, but `close`, which waits for a limited time.

    MLflow's own asynchronous logging is no such thing: it hands batches to ten threads at once, so that their order is
    lost, drops a batch that failed, and knows neither the start nor the end of a run.

    Parameters
    ----------
    uri : str
        The store's.
    say : callable
        For a line when the store goes away and one when it is back.

    Notes
    -----
    `LIMITS` become those of MLflow's requests in this process, and in those that it starts.
    """

    def __init__(self, uri: str, *, say: Callable[[str], object] = print) -> None:
        self.uri, self.say = uri, say
        self._queue: deque[Write] = deque()
        self._changed = threading.Condition()
        self._closing, self._given_up = threading.Event(), threading.Event()
        self._lost: list[Write] = []
        self._closed: int | None = None
        self._thread: threading.Thread | None = None
        for name, value in LIMITS.items():
            os.environ.setdefault(name, value)

    def put(self, call: Callable[[], object], *, of: str, points: int = 0) -> None:
        """Have `call` done after all that was put before it; see `Write`."""
        with self._changed:
            self._queue.append(Write(call, of, points))
            if self._thread is None:
                # A daemon: a process that wants to end is not held up by a store that is away.
                self._thread = threading.Thread(target=self._work, name=THREAD, daemon=True)
                self._thread.start()
            self._changed.notify_all()

    def close(self, *, seconds: float = 120, say: Callable[[str], object] | None = None) -> int:
        """Wait until all is written, but no longer than `seconds` for one write, and say what was lost.

        Returns
        -------
        int
            How many writes were lost, those that the store refused before included.
        """
        if self._closed is not None:
            return self._closed
        with self._changed:
            self._closing.set()
            self._changed.notify_all()
        self._drain(seconds)
        with self._changed:
            self._given_up.set()
            waiting = list(self._queue)
            lost = [*self._lost, *waiting]
            self._closed = len(lost)
        if lost:
            why = f"did not answer for {seconds:g} s" if waiting else "refused them"
            (say or self.say)(f"MLflow at {shown(self.uri)} {why}: {_told(lost)}.")
        return self._closed

    def _drain(self, seconds: float) -> None:
        left, end = len(self._queue), time.monotonic() + seconds
        while self._thread is not None and self._thread.is_alive() and time.monotonic() < end:
            self._thread.join(min(seconds, FIRST_PAUSE_S))
            if len(self._queue) < left:
                left, end = len(self._queue), time.monotonic() + seconds

    def _work(self) -> None:
        pause, tries, away = FIRST_PAUSE_S, 0, False
        while (write := self._next()) is not None:
            fault = self._attempt(write)
            if fault is not None and fault.passing:
                tries += not fault.away
                if tries < TRIES:
                    if not away:
                        away = True
                        what = "does not answer" if fault.away else f"fails ({fault.reason})"
                        self.say(f"MLflow at {shown(self.uri)} {what}; {len(self._queue)} writes wait.")
                    self._rest(pause)
                    pause = min(2 * pause, LONGEST_PAUSE_S)
                    continue
            if fault is None and away:
                away = False
                self.say(f"MLflow at {shown(self.uri)} is back; {len(self._queue)} writes follow.")
            with self._changed:
                if self._given_up.is_set():
                    return
                self._queue.popleft()
                if fault is not None:
                    self._lost.append(write)
            if fault is not None and len(self._lost) == 1:
                self.say(f"MLflow at {shown(self.uri)} refused a write of {write.of}: {fault.reason}")
            pause, tries = FIRST_PAUSE_S, 0

    def _next(self) -> Write | None:
        """The oldest write, waited for; None when there will be no more."""
        with self._changed:
            self._changed.wait_for(lambda: self._queue or self._closing.is_set())
            return self._queue[0] if self._queue and not self._given_up.is_set() else None

    def _rest(self, pause: float) -> None:
        if self._closing.is_set():
            self._given_up.wait(FIRST_PAUSE_S)
        else:
            self._closing.wait(pause)

    def _attempt(self, write: Write) -> "_Fault | None":
        # Asked first, since MLflow takes some seconds to find out.
        if not answers(self.uri):
            return _Fault("it does not answer", passing=True, away=True)
        try:
            write.call()
        except Exception as error:  # whatever it is, it must not end the thread
            return _fault(error, self.uri)
        return None


@dataclass(frozen=True)
class _Fault:
    reason: str
    passing: bool
    away: bool = False


def attempt(uri: str, call: Callable[[], object], otherwise: str, *, say: Callable[[str], object] = print) -> bool:
    """Write something that is worth a sentence, but no failed pipeline, where the store is away.

    Parameters
    ----------
    uri : str
        The store's.
    call : callable
    otherwise : str
        What a user should know if it was not written.
    say : callable

    Returns
    -------
    bool
        Whether it was written.
    """
    if answers(uri):
        try:
            call()
            return True
        except Exception as error:
            if not _fault(error, uri).passing:
                raise
    say(f"MLflow at {shown(uri)} does not answer; {otherwise}.")
    return False


def _fault(error: Exception, uri: str) -> _Fault:
    reason = " ".join(str(error).split())[:300] or type(error).__name__
    if isinstance(error, MlflowException):
        code = error.get_http_status_code()
        away = code in FOR_NOW or not answers(uri)
        return _Fault(reason, passing=away or code >= 500, away=away)
    away = isinstance(error, (OSError, sqlalchemy.exc.OperationalError))  # requests' exceptions are an OSError
    return _Fault(f"{type(error).__name__}: {reason}", passing=away, away=away)


def _told(lost: list[Write]) -> str:
    points: Counter[str] = Counter()
    for write in lost:
        points[write.of] += write.points
    named = ", ".join(f"{count} points of {of}" for of, count in points.items() if count)
    writes = "1 write is lost" if len(lost) == 1 else f"{len(lost)} writes are lost"
    return f"{writes}, with {named}" if named else f"{writes}, of {', '.join(points)}"


class _NotFromOutbox(logging.Filter):
    """MLflow and urllib3 report each failed try, one with a traceback; the outbox says once that the store is away."""

    def filter(self, record: logging.LogRecord) -> bool:
        return record.threadName != THREAD


for _name in ("mlflow.store.db.utils", "urllib3.connectionpool"):
    logging.getLogger(_name).addFilter(_NotFromOutbox())
