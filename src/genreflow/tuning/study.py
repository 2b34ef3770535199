"""An Optuna study over architectures and their hyperparameters, run by one worker or several."""

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from datetime import datetime, timedelta

import optuna
from optuna.exceptions import UpdateFinishedTrialError
from optuna.storages import RDBStorage
from optuna.trial import TrialState

from genreflow.tuning.next_trial import FIRST, queue_next_trial
from genreflow.tuning.objectives import directions
from genreflow.tuning.params import TuneParams
from genreflow.tuning.run_trial import Objective, TrialRun, TrialTracker
from genreflow.tuning.sampling import published_parameters
from genreflow.tuning.search_space import SearchSpace
from genreflow.tuning.storage import exclusive, heartbeats
from genreflow.tuning.trial_states import (
    INTERRUPTED,
    attempts_by_position,
    fail_orphaned_trials,
    is_finished,
    time_spent,
    trial_states,
    worker_has_ended,
)

logger = logging.getLogger(__name__)

# How often a worker without a trial checks whether another one's has to be repeated.
POLL_INTERVAL_S = 2.0
# User attribute of a study: the hash of its search space.
SPACE = "space"


@dataclass(frozen=True)
class Progress:
    """How far a study is.

    Parameters
    ----------
    finished : int >= 0
        Trials that have ended.
    running : list of int
        Numbers of the trials that are running, in all workers.
    undecided : bool
        Whether the worker of a running trial is on another machine, where it may have died.
    trials_left : int or None
        Trials that may still be started; None if their number is not limited.
    seconds_left : float or None [s]
        Of the time budget; None if there is none.
    """

    finished: int
    running: list[int]
    undecided: bool
    trials_left: int | None
    seconds_left: float | None

    @property
    def may_start(self) -> bool:
        """Whether another trial may start. The first one always may, so that a study has a result."""
        has_time = self.seconds_left is None or self.seconds_left > 0 or self.finished == 0
        return has_time and (self.trials_left is None or self.trials_left > 0)


def open_study(
    tune: TuneParams,
    space: SearchSpace,
    storage: RDBStorage,
    *,
    name: str,
    attributes: Mapping[str, object] | None = None,
    first_trials: Callable[[], Sequence[dict]] = lambda: (),
) -> optuna.Study:
    """Open a study, or create it with configurations to try first.

    Parameters
    ----------
    tune : TuneParams
    space : SearchSpace
    storage : RDBStorage
        From `genreflow.tuning.storage.open_storage`.
    name : str
        From `genreflow.tuning.search_space.study_name`.
    attributes : mapping of str to JSON-ready, optional
        User attributes of a new study.
    first_trials : callable, optional
        Called for a new study. Returns parameters of trials that follow those with the published configuration of each
        architecture.
    """
    with exclusive(storage):
        study = optuna.create_study(study_name=name, storage=storage, directions=directions(tune), load_if_exists=True)
        if FIRST not in study.user_attrs:  # set last: a process that dies before has created nothing
            published = [published_parameters(architecture, space) for architecture in space.architectures]
            first: list[dict] = []
            for parameters in (*published, *first_trials()):
                if parameters not in first:
                    first.append(parameters)
            for key, value in {**(attributes or {}), SPACE: space.hash, FIRST: first}.items():
                study.set_user_attr(key, value)
    return study


def run_study(
    study: optuna.Study,
    storage: RDBStorage,
    objective: Objective,
    *,
    tune: TuneParams,
    space: SearchSpace,
    tracker: TrialTracker,
    parallel: bool = False,
) -> None:
    """Run trials until the budget of the study is spent and no worker runs a trial any more.

    A study continues where earlier runs stopped. Workers start trials one at a time, under the lock of the storage, so
    that their number is exact. A worker that may not start another trial waits for the others, and repeats the trials
    of those that die.

    Parameters
    ----------
    study : optuna.Study
        From `open_study`.
    storage : RDBStorage
        The study's.
    objective : callable
        ``objective(configuration, callback)`` builds a model, calls ``callback.on_model_built(costs)`` with the costs
        that `tune` needs, fits it, calls ``callback.on_epoch_end(epoch, metrics)`` with
        ``metrics["val_track_accuracy"]`` after each epoch, and returns a `TrialResult`. An exception fails the trial,
        not the study.
    tune : TuneParams
    space : SearchSpace
    tracker : TrialTracker
    parallel : bool
        Whether there are other workers: the sampler then avoids the parameters of running trials. A worker that is
        alone first waits for the heartbeat of a trial that is running on another machine: if its worker has died, it is
        repeated before the study goes on, so that the trials are those of a study that was never interrupted.
    """
    resumed = False
    interrupted: set[int] | None = None
    waiting_for: set[int] = set()
    undecided_until = time.monotonic() + (0 if parallel else _longest_pause_s(storage))
    while True:
        with ExitStack() as lock:
            lock.enter_context(exclusive(storage))
            may_wait = time.monotonic() < undecided_until  # before it looks: later, every dead worker is known
            found = fail_orphaned_trials(study, storage)
            if found != interrupted:
                interrupted = found
                tracker.end_orphaned(trial_states(study, ended_before=_grace_period_ago(storage)))
            progress = study_progress(study, tune)
            if not resumed and progress.finished:
                logger.info("study %s: resuming after %d trials", study.study_name, progress.finished)
            resumed = True
            if progress.may_start and not (progress.undecided and may_wait):
                _run_next_trial(
                    study,
                    storage,
                    objective,
                    progress,
                    lock,
                    tune=tune,
                    space=space,
                    tracker=tracker,
                    parallel=parallel,
                )
                continue
        if not progress.running:
            return
        if not waiting_for.issuperset(progress.running):
            waiting_for.update(progress.running)
            logger.info(
                "waiting for trials that other workers run: %s; if a worker has died, its trial is repeated %d s after "
                "its last heartbeat",
                ", ".join(map(str, progress.running)),
                storage.grace_period,
            )
        time.sleep(POLL_INTERVAL_S)


def study_progress(study: optuna.Study, tune: TuneParams) -> Progress:
    """Return how far a study is; call it under `genreflow.tuning.storage.exclusive`."""
    # Read once: a trial that ends meanwhile, which takes no lock, must not be missed.
    positions = attempts_by_position(study).values()
    finished = sum(map(is_finished, positions))
    running = [trial for attempts in positions for trial in attempts if trial.state == TrialState.RUNNING]
    return Progress(
        finished=finished,
        running=[trial.number for trial in running],
        undecided=any(worker_has_ended(trial) is None for trial in running),
        trials_left=None if tune.trials is None else tune.trials - finished - len(running),
        seconds_left=None if tune.hours is None else 3600 * tune.hours - time_spent(study).total_seconds(),
    )


def _run_next_trial(
    study: optuna.Study,
    storage: RDBStorage,
    objective: Objective,
    progress: Progress,
    lock: ExitStack,
    *,
    tune: TuneParams,
    space: SearchSpace,
    tracker: TrialTracker,
    parallel: bool,
) -> None:
    """Run a trial; the lock is released as soon as Optuna has stored that it is running."""
    trial_id = queue_next_trial(study, storage, tune, space, parallel=parallel)
    run: TrialRun | None = None
    try:
        trial = study.ask()
        deadline = None if progress.seconds_left is None else time.monotonic() + progress.seconds_left
        lock.close()
        with heartbeats(storage, trial_id):
            run = TrialRun(study, trial, tune=tune, space=space, tracker=tracker, deadline=deadline)
            state, values = run.run(objective)
            study.tell(trial, values, state, skip_if_finished=True)
    except UpdateFinishedTrialError:
        logger.warning("another worker repeats the trial of this one, which had no heartbeat for a while")
    except BaseException as error:
        _interrupt(study, storage, trial_id, run, type(error).__name__)
        raise


def _interrupt(study: optuna.Study, storage: RDBStorage, trial_id: int, run: TrialRun | None, reason: str) -> None:
    trial = storage.get_trial(trial_id)
    if trial.state == TrialState.RUNNING:
        with suppress(UpdateFinishedTrialError):
            storage.set_trial_user_attr(trial_id, INTERRUPTED, datetime.now().isoformat())
            if run is not None:
                run.end_interrupted(reason)
        study.tell(trial.number, state=TrialState.FAIL, skip_if_finished=True)


def _grace_period_ago(storage: RDBStorage) -> datetime:
    return datetime.now() - timedelta(seconds=storage.grace_period or 0)


def _longest_pause_s(storage: RDBStorage) -> float:
    """Return after how many seconds a trial that is running has a heartbeat, or is known to have none."""
    return (storage.grace_period or 0) + (storage.heartbeat_interval or 0)
