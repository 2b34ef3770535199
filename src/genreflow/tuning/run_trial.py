"""One trial of a study: its configuration, its progress, and how it ends."""

import logging
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

import optuna
from optuna.exceptions import UpdateFinishedTrialError
from optuna.trial import TrialState

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
    """A trial from its parameters to its values, and the callback of its objective.

    Parameters
    ----------
    study : optuna.Study
    trial : optuna.Trial
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
        self._configuration = suggest(trial, space)
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
        self._repeats = retry_of(trial)
        self._started = False

    def run(self, objective: Objective) -> tuple[TrialState, list[float] | None]:
        """Evaluate the objective, and record how the trial ended.

        Returns
        -------
        state : TrialState
            PRUNED also if the trial is infeasible, or has no time left.
        values : list of float or None
            Of a complete trial.

        Raises
        ------
        optuna.exceptions.UpdateFinishedTrialError
            Another worker repeats the trial, as it had no heartbeat for the grace period.
        """
        self._start()
        try:
            return TrialState.COMPLETE, self._complete(objective(self._configuration, self))
        except InfeasibleError as error:
            self._trial.set_user_attr(INFEASIBLE, str(error))
            self._end("KILLED", "infeasible", str(error))
            return TrialState.PRUNED, None
        except optuna.TrialPruned as error:
            self._end("KILLED", "pruned", str(error))
            return TrialState.PRUNED, None
        except OutOfTimeError:
            return self._end_out_of_time()
        except UpdateFinishedTrialError:
            self._tracker.end(self._trial.number, "FAILED", tags={"trial": "interrupted"}, metrics={})
            raise
        except Exception as error:
            reason = f"{type(error).__name__}: {error}"[:500]
            self._trial.set_user_attr(ERROR, reason)
            self._end("FAILED", "failed", reason)
            return TrialState.FAIL, None

    def end_interrupted(self, reason: str) -> None:
        """Record that the trial was interrupted; it is repeated, by another worker or in the next run."""
        if self._started:
            self._end("FAILED", "interrupted", reason)

    def on_model_built(self, costs: Mapping[str, float]) -> None:
        """See `TrialCallback`."""
        self._costs = dict(costs)
        for name, value in costs.items():
            self._trial.set_user_attr(name, value)
        for name, value in constraint_values(costs, self._tune).items():
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
        self._started = True

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

    def _end_out_of_time(self) -> tuple[TrialState, list[float] | None]:
        if self._completed or not self._curve:
            self._end("KILLED", "pruned", "tune.hours are spent")
            return TrialState.PRUNED, None
        # A first trial of fewer epochs is better than a study without any result.
        best = max(self._curve)
        return TrialState.COMPLETE, self._complete(TrialResult(best, self._curve.index(best) + 1))

    def _end(self, status: str, state: str, reason: str) -> None:
        self._note_progress()
        tags = {"trial": state, "reason": reason}
        self._tracker.end(self._trial.number, status, tags=tags, metrics=dict(self._costs))
        logger.info("%s: %s, %s", self._name, state, reason)

    def _note_progress(self) -> None:
        self._trial.set_user_attr(CURVE, self._curve)
        if run_id := self._tracker.run_id(self._trial.number):
            self._trial.set_user_attr("run_id", run_id)
