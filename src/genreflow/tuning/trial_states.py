"""How trials ended, and requeueing of the trials whose worker was interrupted or died."""

import copy
import math
from datetime import datetime, timedelta

import optuna
from optuna.storages import RDBStorage, RetryHeartbeatStaleTrialCallback
from optuna.trial import FrozenTrial, TrialState

# User attributes of a trial: host and process ID of its worker, for people; when it was interrupted; why its
# configuration is infeasible; the exception that it failed with; track accuracy on validation after each epoch.
WORKER, INTERRUPTED, INFEASIBLE, ERROR = "worker", "interrupted", "infeasible", "error"
CURVE, CONFIGURATION = "val_track_accuracy_by_epoch", "configuration"
# How often an interrupted trial is repeated: one that kills its process each time must not be repeated forever.
MAX_RETRIES = 2


def requeue_orphaned_trials(study: optuna.Study, storage: RDBStorage) -> set[int]:
    """Fail the running trials whose worker is gone, and queue them again with the same parameters.

    A worker that is stopped by a signal or an exception marks its trial as interrupted. One that is killed is detected
    when its heartbeat is older than the grace period of the storage. Call it under
    `genreflow.tuning.storage.exclusive`.

    Returns
    -------
    set of int
        Numbers of all interrupted trials, those of earlier calls included.
    """
    for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
        if INTERRUPTED in trial.user_attrs or _died_before_its_first_heartbeat(trial, storage):
            study.tell(trial.number, state=TrialState.FAIL)
    optuna.storages.fail_stale_trials(study)  # calls `requeue`
    trials = study.get_trials(deepcopy=False)
    repeated = _repeated(trials)
    for trial in trials:
        if _is_interrupted(trial, repeated) and trial.number not in repeated:
            requeue(study, trial)
    trials = study.get_trials(deepcopy=False)
    repeated = _repeated(trials)
    return {trial.number for trial in trials if _is_interrupted(trial, repeated)}


def requeue(study: optuna.Study, trial: FrozenTrial) -> None:
    """Queue a trial again, unless it is the last of `MAX_RETRIES`. Also the storage's callback for stale trials."""
    trial = copy.deepcopy(trial)
    trial.user_attrs = {}  # they describe the failed attempt
    RetryHeartbeatStaleTrialCallback(max_retry=MAX_RETRIES)(study, trial)


def retry_of(trial: FrozenTrial) -> int | None:
    """Return the number of the interrupted trial that this one repeats."""
    history = RetryHeartbeatStaleTrialCallback.retry_history(trial)
    return history[-1] if history else None


def finished_trials(study: optuna.Study) -> list[FrozenTrial]:
    """Return the trials that have ended; an interrupted one that is repeated does not count."""
    trials = study.get_trials(deepcopy=False)
    repeated = _repeated(trials)
    return [trial for trial in trials if trial.state.is_finished() and trial.number not in repeated]


def completed_trials(study: optuna.Study) -> list[FrozenTrial]:
    """Return the trials that have a result. They are within all limits: what exceeds one is pruned."""
    return study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))


def trial_states(study: optuna.Study, *, ended_before: datetime | None = None) -> dict[int, str]:
    """Return how trials ended, by number: finished, pruned, infeasible, failed or interrupted.

    Parameters
    ----------
    study : optuna.Study
    ended_before : datetime, optional
        Leave out trials that ended later, unless they were interrupted: their workers may still be writing to MLflow.
    """
    trials = study.get_trials(deepcopy=False)
    repeated = _repeated(trials)
    states = {}
    for trial in trials:
        if not trial.state.is_finished():
            continue
        state = _state(trial, repeated)
        ended = trial.datetime_complete or datetime.min
        if state == "interrupted" or ended_before is None or ended < ended_before:
            states[trial.number] = state
    return states


def time_spent(study: optuna.Study) -> timedelta:
    """Return the time in which at least one trial was running.

    A trial whose worker was killed does not count, as nobody knows when that happened.
    """
    trials = study.get_trials(deepcopy=False)
    repeated = _repeated(trials)
    spans = []
    for trial in trials:
        begin, end = trial.datetime_start, trial.datetime_complete or datetime.now()
        if _is_interrupted(trial, repeated):
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


def _state(trial: FrozenTrial, repeated: set[int]) -> str:
    if INFEASIBLE in trial.user_attrs:
        return "infeasible"
    if _is_interrupted(trial, repeated):
        return "interrupted"
    return {TrialState.COMPLETE: "finished", TrialState.PRUNED: "pruned"}.get(trial.state, "failed")


def _is_interrupted(trial: FrozenTrial, repeated: set[int]) -> bool:
    """Whether a trial was failed by someone else than its own worker, which writes down the error."""
    return trial.state == TrialState.FAIL and (trial.number in repeated or ERROR not in trial.user_attrs)


def _repeated(trials: list[FrozenTrial]) -> set[int]:
    return {number for trial in trials for number in RetryHeartbeatStaleTrialCallback.retry_history(trial)}


def _died_before_its_first_heartbeat(trial: FrozenTrial, storage: RDBStorage) -> bool:
    """Whether a worker died between Optuna's first entry of the trial and its own; such trials never become stale."""
    started = trial.datetime_start
    grace_period = timedelta(seconds=storage.grace_period or 0)
    return WORKER not in trial.user_attrs and started is not None and datetime.now() - started > grace_period
