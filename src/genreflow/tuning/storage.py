"""Optuna's storage: one worker at a time decides what is next, and no trial dies with its process."""

import copy
import os
import socket
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path

import optuna
import psutil
from filelock import FileLock
from optuna.storages import RDBStorage, RetryHeartbeatStaleTrialCallback
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy import Engine, create_engine, event, text
from sqlalchemy.exc import ArgumentError, SQLAlchemyError

from genreflow.errors import GenreflowError

# A worker on another machine that gave no sign of life for GRACE_S is taken for dead.
HEARTBEAT_S, GRACE_S = 10, 60
# How often a trial is begun again: one that kills its process each time must not do so for ever.
RETRIES = 2
# Of a trial: the process that runs it, and that it was cut off (its process died, or was told to stop).
PROCESS, INTERRUPTED = "process", "interrupted"
# Of a trial: why it breaks a limit.
INFEASIBLE = "infeasible"
# Any number, as long as all workers agree on it.
_ADVISORY_LOCK = 0x67656E72


def open_storage(url: str) -> RDBStorage:
    """Open Optuna's storage, made where there is none.

    Parameters
    ----------
    url : str
        Such as ``sqlite:///optuna.db``, or ``postgresql+psycopg://user@host/database`` for several machines.

    Raises
    ------
    GenreflowError
        It cannot be reached.
    """
    optuna.logging.set_verbosity(optuna.logging.ERROR)  # what happens is said by `tune`, in fewer words
    warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)
    if url.startswith("postgresql:"):  # the driver that genreflow comes with
        url = url.replace("postgresql:", "postgresql+psycopg:", 1)
    options: dict = {"pool_pre_ping": True}  # a connection that broke between two trials is opened again
    if url.startswith("sqlite:"):
        options["connect_args"] = {"timeout": 60}  # other workers write there too
    try:
        engine = create_engine(url, **options)
        with _alone(engine):  # two that make the tables at once get into each other's way
            storage = RDBStorage(
                url,
                engine_kwargs=options,
                heartbeat_interval=HEARTBEAT_S,
                grace_period=GRACE_S,
                heartbeat_stale_trial_callback=_retry,
            )
        engine.dispose()
    except ImportError as error:
        raise GenreflowError(
            f"The storage of the study, {_without_password(url)}, needs {error.name}, which is not installed; "
            "`pip install 'genreflow[postgres]'` brings PostgreSQL's."
        ) from None
    except (SQLAlchemyError, ArgumentError, ValueError) as error:
        reason = " ".join(str(error).split()).partition("(Background")[0].strip()
        raise GenreflowError(
            f"The storage of the study, {_without_password(url)}, cannot be opened: {reason}"
        ) from None
    if url.startswith("sqlite:"):
        event.listen(storage.engine, "connect", _write_ahead)
        storage.engine.dispose()  # the connections that are open already
    return storage


@contextmanager
def turn(storage: RDBStorage) -> Iterator[None]:
    """What stands in the block is done by one worker of the storage at a time.

    A lock in a file beside SQLite's, or one of PostgreSQL's advisory locks; both end with the process that holds them.
    Of other databases there is none: workers that start at once may then make a run of the study each, and begin a
    trial more than was asked for.
    """
    with _alone(storage.engine):
        yield


@contextmanager
def _alone(engine: Engine) -> Iterator[None]:
    if engine.url.get_backend_name() == "sqlite" and engine.url.database:
        with FileLock(f"{engine.url.database}.lock"):
            yield
    elif engine.url.get_backend_name() == "postgresql":
        with engine.connect() as connection:
            connection.execute(text("select pg_advisory_lock(:key)"), {"key": _ADVISORY_LOCK})
            connection.commit()  # the lock stays with the session; an open transaction would only stand in the way
            try:
                yield
            finally:
                connection.execute(text("select pg_advisory_unlock(:key)"), {"key": _ADVISORY_LOCK})
                connection.commit()
    else:
        yield


def this_process() -> dict[str, object]:
    """What names this process and no other, on this machine or another, now or after a restart."""
    process = psutil.Process()
    return {"machine": _machine(), "pid": process.pid, "began": process.create_time()}


def revive(study: optuna.Study, storage: RDBStorage) -> set[int]:
    """End the trials whose process is dead, and queue them again.

    On this machine a dead process is known at once, on another by its heartbeat; that of a stopped one says so itself.
    Call it in one's `turn`.

    Returns
    -------
    set of int
        Numbers of all trials that were cut off, now or earlier.
    """
    for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
        if trial.user_attrs.get(INTERRUPTED) or _is_dead(trial.user_attrs.get(PROCESS)):
            storage.set_trial_user_attr(trial._trial_id, INTERRUPTED, True)
            study.tell(trial.number, state=TrialState.FAIL)
    optuna.storages.fail_stale_trials(study)
    trials = study.get_trials(deepcopy=False)
    again = _began_again(trials)
    for trial in trials:
        if trial.state == TrialState.FAIL and trial.user_attrs.get(INTERRUPTED) and trial.number not in again:
            _retry(study, trial)
    trials = study.get_trials(deepcopy=False)
    return _began_again(trials) | {trial.number for trial in trials if trial.user_attrs.get(INTERRUPTED)}


def over(study: optuna.Study) -> list[FrozenTrial]:
    """The trials that have come to an end; one that was cut off and is tried again does not count."""
    trials = study.get_trials(deepcopy=False)
    again = _began_again(trials)
    return [trial for trial in trials if trial.state.is_finished() and trial.number not in again]


def endings(study: optuna.Study) -> dict[int, str]:
    """How each trial that is over ended, by its number: finished, pruned, infeasible, failed or interrupted."""
    trials = study.get_trials(deepcopy=False)
    again = _began_again(trials)

    def how(trial: FrozenTrial) -> str:
        if INFEASIBLE in trial.user_attrs:
            return "infeasible"
        if trial.state == TrialState.FAIL:
            return "interrupted" if trial.number in again or trial.user_attrs.get(INTERRUPTED) else "failed"
        return "finished" if trial.state == TrialState.COMPLETE else "pruned"

    return {trial.number: how(trial) for trial in trials if trial.state.is_finished()}


def left_behind(study: optuna.Study) -> dict[int, str]:
    """Of `endings`, those of processes that will write nothing more about them anywhere."""
    found = endings(study)

    def gone(trial: FrozenTrial) -> bool:
        process = trial.user_attrs.get(PROCESS)
        if process is None or found[trial.number] == "interrupted":
            return True
        if process["machine"] == _machine():
            return _is_dead(process)
        return datetime.now() - trial.datetime_complete > timedelta(seconds=GRACE_S)

    return {
        trial.number: found[trial.number]
        for trial in study.get_trials(deepcopy=False)
        if trial.number in found and gone(trial)
    }


def began_as(trial: FrozenTrial) -> int | None:
    """Number of the trial that this one takes up again."""
    history = RetryHeartbeatStaleTrialCallback.retry_history(trial)
    return history[-1] if history else None


def _write_ahead(connection, _) -> None:
    """Let SQLite write ahead: a trial's forty small writes then wait for the disk no longer (0.4 s became 0.05).

    What is written survives the death of a process, as before; of a whole machine's, the last trial may be missing.
    """
    connection.execute("pragma journal_mode=wal")
    connection.execute("pragma synchronous=normal")


def _began_again(trials: list[FrozenTrial]) -> set[int]:
    return {number for trial in trials for number in RetryHeartbeatStaleTrialCallback.retry_history(trial)}


def _retry(study: optuna.Study, trial: FrozenTrial) -> None:
    trial = copy.copy(trial)
    trial.user_attrs = {}  # they tell of the attempt that failed
    RetryHeartbeatStaleTrialCallback(max_retry=RETRIES)(study, copy.deepcopy(trial))


def _is_dead(process: dict[str, object] | None) -> bool:
    if process is None or process["machine"] != _machine():
        return False  # not known here; its heartbeat tells
    try:
        found = psutil.Process(process["pid"])
        return found.create_time() != process["began"] or found.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def _machine() -> str:
    """This machine since it was started, and the space of its process numbers: those of containers are their own."""
    parts = [socket.gethostname()]
    for path, read in (
        ("/proc/sys/kernel/random/boot_id", lambda p: Path(p).read_text("ascii").strip()),
        ("/proc/self/ns/pid", os.readlink),
    ):
        try:
            parts.append(read(path))
        except OSError:
            parts.append("")
    return "/".join(parts).replace(" ", "_")


def _without_password(url: str) -> str:
    head, at, tail = url.rpartition("@")
    return f"{head.rpartition(':')[0]}:***{at}{tail}" if at and head.count(":") > 1 else url
