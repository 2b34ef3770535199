"""How trials ended, and which trials of a study are attempts at the same position.

A study is a sequence of positions, each with parameters of its own. Every trial is an attempt at one of them: if it is
interrupted, or its worker dies, the next trial of that position repeats it.
"""

import math
from collections.abc import Sequence
from datetime import datetime, timedelta

import optuna
from optuna.storages import RDBStorage
from optuna.trial import FrozenTrial, TrialState

from genreflow.processes import has_ended

# User attributes of a trial: its position; its parameters; the interrupted trial that it repeats; the process of its
# worker; when it was interrupted; why its configuration is infeasible; the exception that it failed with; track
# accuracy on validation after each epoch.
POSITION, PARAMETERS, RETRY_OF = "position", "sampled", "retry_of"
WORKER, INTERRUPTED, INFEASIBLE, ERROR = "worker", "interrupted", "infeasible", "error"
CURVE, CONFIGURATION = "val_track_accuracy_by_epoch", "configuration"
# How often a trial is repeated whose worker died: one that kills its process each time must not be repeated forever.
MAX_RETRIES = 2


def fail_orphaned_trials(study: optuna.Study, storage: RDBStorage) -> set[int]:
    """Fail the running trials whose worker is gone.

    A worker that is stopped by a signal or an exception marks its trial as interrupted. That one has died is seen at
    once on its own machine, and by the other machines when the heartbeat of its trial is older than the grace period
    of the storage. Call it under `genreflow.tuning.storage.exclusive`.

    Returns
    -------
    set of int
        Numbers of all interrupted trials, those of earlier calls included.
    """
    for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
        if INTERRUPTED in trial.user_attrs or worker_has_ended(trial):
            study.tell(trial.number, state=TrialState.FAIL)
    optuna.storages.fail_stale_trials(study)
    return {number for number, state in trial_states(study).items() if state == "interrupted"}


def worker_has_ended(trial: FrozenTrial) -> bool | None:
    """Return whether the worker of a trial has ended; None if it is on another machine."""
    return has_ended(trial.user_attrs[WORKER]) if WORKER in trial.user_attrs else None


def attempts_by_position(study: optuna.Study) -> dict[int, list[FrozenTrial]]:
    """Return the trials of each position, in the order of positions, and of their numbers."""
    positions: dict[int, list[FrozenTrial]] = {}
    for trial in study.get_trials(deepcopy=False):
        positions.setdefault(_position(trial), []).append(trial)
    return dict(sorted(positions.items()))


def is_to_be_repeated(attempts: Sequence[FrozenTrial]) -> bool:
    """Return whether a position needs another attempt: the last one was interrupted, or its worker died.

    Interruptions are not limited in number, deaths are.
    """
    deaths = sum(INTERRUPTED not in trial.user_attrs for trial in attempts if _is_interrupted(trial))
    return _is_interrupted(attempts[-1]) and deaths <= MAX_RETRIES


def is_finished(attempts: Sequence[FrozenTrial]) -> bool:
    """Return whether the last attempt at a position has ended, and needs no other one."""
    return attempts[-1].state.is_finished() and not is_to_be_repeated(attempts)


def retry_of(trial: FrozenTrial | optuna.Trial) -> int | None:
    """Return the number of the interrupted trial that this one repeats."""
    return trial.user_attrs.get(RETRY_OF)


def finished_trials(study: optuna.Study) -> list[FrozenTrial]:
    """Return the trials that have ended; an interrupted one that is repeated does not count."""
    return [attempts[-1] for attempts in attempts_by_position(study).values() if is_finished(attempts)]


def completed_trials(study: optuna.Study) -> list[FrozenTrial]:
    """Return the trials that have a result, in the order of their positions; what exceeds a limit has none."""
    attempts = [trial for attempts in attempts_by_position(study).values() for trial in attempts]
    return [trial for trial in attempts if trial.state == TrialState.COMPLETE]


def trial_states(study: optuna.Study, *, ended_before: datetime | None = None) -> dict[int, str]:
    """Return how trials ended, by number: finished, pruned, infeasible, failed or interrupted.

    Parameters
    ----------
    study : optuna.Study
    ended_before : datetime, optional
        Leave out trials that ended later, unless they were interrupted: their workers may still be writing to MLflow.
    """
    states = {}
    for trial in study.get_trials(deepcopy=False):
        if not trial.state.is_finished():
            continue
        state = _state(trial)
        ended = trial.datetime_complete or datetime.min
        if state == "interrupted" or ended_before is None or ended < ended_before:
            states[trial.number] = state
    return states


def time_spent(study: optuna.Study) -> timedelta:
    """Return the time in which at least one trial was running.

    A trial whose worker was killed does not count, as nobody knows when that happened.
    """
    spans = []
    for trial in study.get_trials(deepcopy=False):
        begin, end = trial.datetime_start, trial.datetime_complete or datetime.now()
        if _is_interrupted(trial):
            interrupted = trial.user_attrs.get(INTERRUPTED)
            end = datetime.fromisoformat(interrupted) if interrupted else datetime.min
        if begin is not None:
            spans.append((begin, end))
    total, last = timedelta(), datetime.min
    for begin, end in sorted(spans):
        total += max(timedelta(), end - max(begin, last))
        last = max(last, end)
    return total


def finite_curve(trial: FrozenTrial) -> list[float | None]:
    """Return the learning curve for JSON, which has no NaN."""
    return [value if math.isfinite(value) else None for value in trial.user_attrs.get(CURVE, ())]


def _position(trial: FrozenTrial) -> int:
    return trial.user_attrs.get(POSITION, trial.number)


def _state(trial: FrozenTrial) -> str:
    if _is_interrupted(trial):
        return "interrupted"
    if INFEASIBLE in trial.user_attrs:
        return "infeasible"
    return {TrialState.COMPLETE: "finished", TrialState.PRUNED: "pruned"}.get(trial.state, "failed")


def _is_interrupted(trial: FrozenTrial) -> bool:
    """Whether a trial failed without an error of its own, which its worker would have written down."""
    return trial.state == TrialState.FAIL and ERROR not in trial.user_attrs
