"""Run tasks in a process of their own, which sends log records and results to this one."""

import logging
import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from genreflow.interruption import Interruption
from genreflow.reproduction.tasks import Task

# Time for the process to end, and to end its MLflow run.
GRACE_S = 60


@dataclass(frozen=True)
class LogMessage:
    """A log message of the process, which is logged here under the same name and level."""

    logger: str
    level: int
    text: str


class TaskError(Exception):
    """A task failed, or its process ended; the message says why."""


def run_in_process(tasks: Sequence[Task], store: Path, project: Path) -> Iterator[dict[str, Any] | TaskError]:
    """Run tasks one after the other in a new process, and yield the result of each as it comes.

    If the process dies, the task that it was running has failed, and those after it have no result.

    Parameters
    ----------
    tasks : sequence of Task
    store : Path
        Directory of the feature store.
    project : Path
        Directory of MLflow's store.

    Yields
    ------
    dict or TaskError
        The record of a task, or why it failed.
    """
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_work, args=(tasks, store.resolve(), project.resolve(), sender), daemon=True)
    process.start()
    sender.close()
    try:
        for _ in tasks:
            while isinstance(message := receiver.recv(), LogMessage):
                logging.getLogger(message.logger).log(message.level, "%s", message.text)
            yield message
        process.join(GRACE_S)
    except EOFError:
        process.join(GRACE_S)
        yield TaskError(_exit_reason(process.exitcode))
    finally:
        receiver.close()
        if process.is_alive():
            process.terminate()
            process.join(GRACE_S)
            process.kill()


def _exit_reason(code: int | None) -> str:
    if code is None or code >= 0:
        return f"its process ended with exit code {code}"
    hint = "; the machine may have run out of memory" if code == -signal.SIGKILL else ""
    return f"its process was ended by {signal.Signals(-code).name}{hint}"


class _ConnectionHandler(logging.Handler):
    """Sends log messages through a connection."""

    def __init__(self, connection: Connection) -> None:
        super().__init__()
        self._connection = connection

    def emit(self, record: logging.LogRecord) -> None:
        self._connection.send(LogMessage(record.name, record.levelno, record.getMessage()))


def _work(tasks: Sequence[Task], store: Path, project: Path, sender: Connection) -> None:
    """Entry point of the process."""
    # Control-C reaches all processes of a terminal. The parent decides, and sends SIGTERM; so does its end.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    package_logger = logging.getLogger("genreflow")
    package_logger.addHandler(_ConnectionHandler(sender))
    package_logger.setLevel(logging.INFO)
    package_logger.propagate = False
    try:
        with Interruption([signal.SIGTERM]) as interruption:
            from genreflow.models.keras_import import import_keras

            import_keras()
            from genreflow.reproduction.fits import run_task

            for task in tasks:
                try:
                    sender.send(interruption.guard(run_task)(task, store, project))
                except Exception as error:
                    sender.send(TaskError(f"{type(error).__name__}: {error}"[:1000]))
    except (KeyboardInterrupt, BrokenPipeError):
        os._exit(1)


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os.kill(os.getpid(), signal.SIGTERM)
