"""One trial of a study: its configuration, its progress, and how it ends."""

import logging
import math
import os
import socket
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

import optuna
from optuna.exceptions import UpdateFinishedTrialError
from optuna.storages import RDBStorage
from optuna.trial import FrozenTrial

from genreflow.tuning.objectives import constraint_values, exceeded_limits, objective_values
from genreflow.tuning.params import TuneParams
from genreflow.tuning.pruning import LearningCurve, pruning_reason
from genreflow.tuning.sampling import suggest
from genreflow.tuning.search_space import Configuration, SearchSpace
from genreflow.tuning.trial_states import (
    CONFIGURATION,
    CURVE,
    ERROR,
    INFEASIBLE,
    INTERRUPTED,
    WORKER,
    completed_trials,
    retry_of,
)

logger = logging.getLogger(__name__)


class TrialTracker(Protocol):
    """Where trials are recorded. `genreflow.tracking.trials.StudyTrials` makes each a run in MLflow.

    No method waits for the place, or fails if it cannot be reached.
    """

    def start(self, number: int, params: Mapping[str, object], tags: Mapping[str, object]) -> None: ...
    def log_epoch(self, number: int, epoch: int, metrics: Mapping[str, float]) -> None: ...
    def end(self, number: int, status: str, *, tags: Mapping[str, object], metrics: Mapping[str, float]) -> None: ...
    def run_id(self, number: int) -> str | None: ...
    def end_orphaned(self, states: Mapping[int, str]) -> None: ...


class TrialCallback(Protocol):
    """What an objective calls while it works. Each call may raise an exception that ends the trial."""

    def on_model_built(self, costs: Mapping[str, float]) -> None: ...
    def on_epoch_end(self, epoch: int, metrics: Mapping[str, float]) -> None: ...


class InfeasibleError(Exception):
    """A configuration that exceeds a limit, or that no model can be built for."""


class OutOfTimeError(Exception):
    """The time budget of the study is spent."""


@dataclass(frozen=True)
class TrialResult:
    """Result of a completed trial.

    Parameters
    ----------
    track_accuracy : float in [0, 1]
        On validation, at the best epoch.
    epochs : int > 0
        Up to and including the best epoch.
    metrics : dict of str to float
        Written to the trial; ``val_loss`` decides between equal accuracies.
    """

    track_accuracy: float
    epochs: int
    metrics: dict[str, float] = field(default_factory=dict)


Objective = Callable[[Configuration, TrialCallback], TrialResult]


class TrialRun:
    """A trial from its parameters to its values: the callback of its objective, and what `study.optimize` calls.

    Parameters
    ----------
    study : optuna.Study
    trial : optuna.Trial
        Its configuration is sampled here.
    tune : TuneParams
    space : SearchSpace
    tracker : TrialTracker
    deadline : float or None [s]
        The value of `time.monotonic` at which the time budget of the study is spent.
    """

    def __init__(
        self,
        study: optuna.Study,
        trial: optuna.Trial,
        *,
        tune: TuneParams,
        space: SearchSpace,
        tracker: TrialTracker,
        deadline: float | None,
    ) -> None:
        self._trial, self._tune, self._tracker, self._deadline = trial, tune, tracker, deadline
        self._configuration = _suggest(trial, space)
        self._curve: list[float] = []
        self._costs: dict[str, float] = {}
        self._completed: list[LearningCurve] = [
            (other.user_attrs["architecture"], other.user_attrs[CURVE]) for other in completed_trials(study)
        ]
        of = "" if tune.trials is None else f" of {tune.trials}"
        self._name = (
            f"trial {trial.number}{of} ({self._configuration.architecture}, learning rate "
            f"{self._configuration.learning_rate:.2g})"
        )
        self._repeats = retry_of(_frozen(study, trial))

    def run(self, objective: Objective) -> list[float]:
        """Evaluate the objective, record how the trial ended, and return its values.

        Raises
        ------
        optuna.TrialPruned
            The trial was pruned, is infeasible, or had no time left.
        optuna.exceptions.UpdateFinishedTrialError
            Another worker has requeued the trial, as it had no heartbeat for the grace period.
        """
        self._start()
        try:
            return self._complete(objective(self._configuration, self))
        except InfeasibleError as error:
            self._trial.set_user_attr(INFEASIBLE, str(error))
            self._end("KILLED", "infeasible", str(error))
            raise optuna.TrialPruned(str(error)) from None
        except optuna.TrialPruned as error:
            self._end("KILLED", "pruned", str(error))
            raise
        except OutOfTimeError:
            return self._end_out_of_time()
        except UpdateFinishedTrialError:
            self._tracker.end(self._trial.number, "FAILED", tags={"trial": "interrupted"}, metrics={})
            raise
        except Exception as error:
            reason = f"{type(error).__name__}: {error}"[:500]
            self._trial.set_user_attr(ERROR, reason)
            self._end("FAILED", "failed", reason)
            raise
        except BaseException as error:  # a signal: the trial is repeated, by another worker or in the next run
            self._trial.set_user_attr(INTERRUPTED, datetime.now().isoformat())
            self._end("FAILED", "interrupted", type(error).__name__)
            raise

    def on_model_built(self, costs: Mapping[str, float]) -> None:
        """See `TrialCallback`."""
        self._costs = dict(costs)
        for name, value in costs.items():
            self._trial.set_user_attr(name, value)
        known = self._trial.constraints  # of a trial that is repeated
        for name, value in constraint_values(costs, self._tune).items():
            if name not in known:
                self._trial.set_constraint(name, value)
        if reason := exceeded_limits(costs, self._tune):
            raise InfeasibleError(reason)

    def on_epoch_end(self, epoch: int, metrics: Mapping[str, float]) -> None:
        """See `TrialCallback`."""
        self._tracker.log_epoch(self._trial.number, epoch, metrics)
        self._curve.append(metrics["val_track_accuracy"])
        if len(self._tune.objectives) == 1:  # Optuna takes no intermediate values of several objectives
            self._trial.report(self._curve[-1], epoch)
        if self._deadline is not None and time.monotonic() > self._deadline:
            raise OutOfTimeError
        reason = pruning_reason(
            self._configuration.architecture,
            self._curve,
            self._completed,
            startup_trials=self._tune.startup_trials,
            warmup_epochs=self._tune.warmup_epochs,
        )
        if reason is not None:
            raise optuna.TrialPruned(reason)

    def _start(self) -> None:
        self._trial.set_user_attr(CONFIGURATION, self._configuration.to_dict())
        self._trial.set_user_attr("architecture", self._configuration.architecture)
        if self._repeats is not None:
            logger.info("trial %d repeats trial %d, which was interrupted", self._trial.number, self._repeats)
        tags = {} if self._repeats is None else {"retry_of": self._repeats}
        self._tracker.start(self._trial.number, self._configuration.mlflow_params, tags)

    def _complete(self, result: TrialResult) -> list[float]:
        values = objective_values(result.track_accuracy, self._costs, self._tune)
        if not all(map(math.isfinite, values)):
            raise ValueError(f"objectives must be finite; got {values}")
        for name, value in {**result.metrics, "epochs": result.epochs}.items():
            self._trial.set_user_attr(name, value)
        self._note_progress()
        metrics = {**self._costs, **result.metrics}
        self._tracker.end(self._trial.number, "FINISHED", tags={"trial": "finished"}, metrics=metrics)
        logger.info(
            "%s: track accuracy %.3f on validation after %d epochs", self._name, result.track_accuracy, result.epochs
        )
        return values

    def _end_out_of_time(self) -> list[float]:
        if self._completed or not self._curve:
            reason = "tune.hours are spent"
            self._end("KILLED", "pruned", reason)
            raise optuna.TrialPruned(reason)
        # A first trial of fewer epochs is better than a study without any result.
        best = max(self._curve)
        return self._complete(TrialResult(best, self._curve.index(best) + 1))

    def _end(self, status: str, state: str, reason: str) -> None:
        self._note_progress()
        tags = {"trial": state, "reason": reason}
        self._tracker.end(self._trial.number, status, tags=tags, metrics=dict(self._costs))
        logger.info("%s: %s, %s", self._name, state, reason)

    def _note_progress(self) -> None:
        self._trial.set_user_attr(CURVE, self._curve)
        if run_id := self._tracker.run_id(self._trial.number):
            self._trial.set_user_attr("run_id", run_id)


def mark_worker(trial: optuna.Trial, storage: RDBStorage) -> None:
    """Write down which process runs a trial, after its first heartbeat.

    Optuna's thread may write the first heartbeat later, and a trial that has none never becomes stale.
    """
    study_id = storage.get_study_id_from_name(trial.study.study_name)
    storage.record_heartbeat(storage.get_trial_id_from_study_id_trial_number(study_id, trial.number))
    trial.set_user_attr(WORKER, {"host": socket.gethostname(), "pid": os.getpid()})


def _suggest(trial: optuna.Trial, space: SearchSpace) -> Configuration:
    try:
        return suggest(trial, space)
    except UpdateFinishedTrialError:
        raise
    except Exception as error:  # or the trial would count as interrupted, and be repeated
        trial.set_user_attr(ERROR, f"{type(error).__name__}: {error}"[:500])
        raise


def _frozen(study: optuna.Study, trial: optuna.Trial) -> FrozenTrial:
    return study.get_trials(deepcopy=False)[trial.number]
