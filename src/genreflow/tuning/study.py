"""An Optuna study over architectures and their hyperparameters, by one worker or many; every trial is written down."""

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Protocol

import optuna
from optuna.storages import RDBStorage
from optuna.trial import FrozenTrial, TrialState

from genreflow.tuning.objectives import Goals
from genreflow.tuning.pruning import hopeless
from genreflow.tuning.search_space import Configuration, Search, known_good, suggest
from genreflow.tuning.storage import (
    INFEASIBLE,
    INTERRUPTED,
    PROCESS,
    began_as,
    left_behind,
    over,
    revive,
    this_process,
    turn,
)

# Of a trial, what reports and later trials go by.
CURVE, CONFIGURATION = "val_track_accuracy_by_epoch", "configuration"
# How often a worker with nothing to do looks whether another one has died.
POLL_S = 2.0


class Trials(Protocol):
    """Where the trials are written down; `genreflow.tracking.study.StudyTrials` makes each a run in MLflow.

    None of these waits or fails because the place cannot be reached.
    """

    def start(self, number: int, params: Mapping[str, object], tags: Mapping[str, object]) -> None: ...
    def epoch(self, number: int, epoch: int, metrics: Mapping[str, float]) -> None: ...
    def end(self, number: int, status: str, *, tags: Mapping[str, object], metrics: Mapping[str, float]) -> None: ...
    def run_id(self, number: int) -> str | None: ...


class InfeasibleError(Exception):
    """A configuration that breaks a limit, or of which no model can be built."""


class _OutOfTimeError(Exception):
    """The study's hours are over."""


@dataclass(frozen=True)
class Outcome:
    """What came of a trial.

    Parameters
    ----------
    track_accuracy : float in [0, 1]
        Of the best epoch, on validation.
    epochs : int > 0
        Until then.
    facts : dict
        To write down; ``val_loss`` decides among equals.
    """

    track_accuracy: float
    epochs: int
    facts: dict[str, float] = field(default_factory=dict)


class Watch(Protocol):
    """What an objective tells while it works; each call may end the trial by an exception, which must pass through."""

    def _note(self) -> None:
        self._trial.set_user_attr(CURVE, self._curve)
        if run_id := self._trials.run_id(self._trial.number):
            self._trial.set_user_attr("run_id", run_id)

    def built(self, costs: Mapping[str, float]) -> None: ...
    def epoch(self, epoch: int, metrics: Mapping[str, float]) -> None: ...


Objective = Callable[[Configuration, Watch], Outcome]


def open_study(
    search: Search,
    goals: Goals,
    storage: RDBStorage,
    *,
    name: str,
    about: Mapping[str, object] | None = None,
    start_from: Callable[[optuna.Study], Sequence[dict]] = lambda study: (),
) -> optuna.Study:
    """Open a study; a new one begins with what is known to be good.

    Parameters
    ----------
    search : Search
    goals : Goals
    storage : RDBStorage
        From `genreflow.tuning.storage.open_storage`.
    name : str
        From `study_name`.
    about : mapping of str to JSON-ready, optional
        Kept with a new study, for those that start from it.
    start_from : callable, optional
        Asked once, for a new study: parameters of trials to begin with, after the known good ones.
    """
    with turn(storage):
        study = optuna.create_study(study_name=name, storage=storage, directions=goals.directions, load_if_exists=True)
        if not study.user_attrs.get("queued"):
            first = [known_good(architecture, search) for architecture in search.architectures]
            for parameters in (*first, *start_from(study)):
                study.enqueue_trial(parameters, skip_if_exists=True)
            for key, value in {**(about or {}), "space": search.space, "queued": True}.items():
                study.set_user_attr(key, value)
    return study


def run_study(
    study: optuna.Study,
    storage: RDBStorage,
    objective: Objective,
    search: Search,
    goals: Goals,
    *,
    trials: Trials,
    settle: Callable[[Mapping[int, str]], object] = lambda ended: None,
    alone: bool = True,
    say: Callable[[str], None] = print,
) -> None:
    """Work on a study until its trials or its hours are over, whatever became of the processes before or beside.

    It returns when no trial is running any more, in any worker: a worker that has nothing to begin waits, and takes up
    the trials of those that die.

    Parameters
    ----------
    study : optuna.Study
        From `open_study`.
    storage : RDBStorage
        The study's.
    objective : callable
        ``objective(configuration, watch)`` builds a model, calls ``watch.built(costs)`` with what `goals` ask for,
        fits it, calls ``watch.epoch(epoch, metrics)`` with ``metrics["val_track_accuracy"]`` after each epoch, and
        returns an `Outcome`. An exception fails the trial, not the study.
    search : Search
    goals : Goals
    trials : Trials
        Where every trial is written down.
    settle : callable, optional
        Called in the beginning, and when a trial was found cut off, with what dead processes left behind
        (`storage.left_behind`); ends what still looks as if it were running.
    alone : bool
        False where other workers take part: trials that are running then count as bad ones, to keep apart.
    """
    done, lost = len(over(study)), None
    if done:
        say(f"study {study.study_name}: going on after {done} trials")
    while True:
        with ExitStack() as mine:
            mine.enter_context(turn(storage))
            cut_off = revive(study, storage)
            if cut_off != lost:
                settle(left_behind(study))
                lost = cut_off
            ended, running = len(over(study)), len(_in_state(study, TrialState.RUNNING))
            wanted = search.trials is None or ended + running < search.trials
            left = None if search.hours is None else timedelta(hours=search.hours) - spent(study)
            in_time = left is None or left > timedelta() or not ended
            if wanted and in_time:
                study.sampler = _sampler(study, search, alone=alone)
                deadline = None if left is None else time.monotonic() + left.total_seconds()
                run = _Run(objective, search, goals, trials, study, deadline, say)
                study.optimize(_released(run, mine), n_trials=1, catch=(Exception,))
                continue
            if not running:
                return
        time.sleep(POLL_S)


def spent(study: optuna.Study) -> timedelta:
    """Time in which at least one trial was running."""
    total, last, now = timedelta(), datetime.min, datetime.now()
    spans = ((trial.datetime_start, trial.datetime_complete or now) for trial in study.get_trials(deepcopy=False))
    for begin, end in sorted(span for span in spans if span[0]):
        total += max(timedelta(), end - max(begin, last))
        last = max(last, end)
    return total


def _sampler(study: optuna.Study, search: Search, *, alone: bool) -> optuna.samplers.BaseSampler:
    """A sampler for the next trial; the numbers it draws depend on the trials before, not on interruptions."""
    return optuna.samplers.TPESampler(
        seed=search.seed + len(study.get_trials(deepcopy=False)),
        multivariate=True,
        group=True,
        n_startup_trials=6,
        constant_liar=not alone,
    )


def _released(run: Callable[[optuna.Trial], list[float]], mine: ExitStack) -> Callable[[optuna.Trial], list[float]]:
    """Run a trial after the next worker has been let on; Optuna has marked it as running by then."""

    def begin(trial: optuna.Trial) -> list[float]:
        try:
            trial.set_user_attr(PROCESS, this_process())
        finally:
            mine.close()
        return run(trial)

    return begin


class _Run:
    """One trial, from its parameters to its values."""

    def __init__(self, objective, search, goals, trials, study, deadline, say) -> None:
        self._objective, self._search, self._goals, self._trials = objective, search, goals, trials
        self._study, self._deadline, self._say = study, deadline, say

    def __call__(self, trial: optuna.Trial) -> list[float]:
        configuration = suggest(trial, self._search)
        of = "" if self._search.trials is None else f" (of {self._search.trials})"
        self._shown = f"trial {trial.number}{of} {configuration.architecture}, learning rate " + (
            f"{configuration.learning_rate:.2g}"
        )
        trial.set_user_attr(CONFIGURATION, configuration.to_dict())
        trial.set_user_attr("architecture", configuration.architecture)
        again = began_as(_frozen(self._study, trial))
        tags = {} if again is None else {"retry_of": again}
        if again is not None:
            self._say(f"trial {trial.number} takes up trial {again}, which was cut off")
        self._trials.start(trial.number, configuration.flat, tags)
        self._trial, self._configuration = trial, configuration
        self._curve: list[float] = []
        self._costs: dict[str, float] = {}
        self._others = [
            (other.user_attrs["architecture"], other.user_attrs[CURVE])
            for other in _in_state(self._study, TrialState.COMPLETE)
        ]
        return self._ended()

    def _ended(self) -> list[float]:
        try:
            outcome = self._objective(self._configuration, self)
        except InfeasibleError as error:
            self._trial.set_user_attr(INFEASIBLE, str(error))
            self._end("KILLED", "infeasible", str(error))
            raise optuna.TrialPruned(str(error)) from None
        except optuna.TrialPruned as pruned:
            self._end("KILLED", "pruned", str(pruned))
            raise
        except _OutOfTimeError:
            if _in_state(self._study, TrialState.COMPLETE) or not self._curve:
                reason = "tune.hours are over"
                self._end("KILLED", "pruned", reason)
                raise optuna.TrialPruned(reason) from None
            # Better a trial of fewer epochs than a study without any.
            best = max(self._curve)
            return self._finish(Outcome(best, self._curve.index(best) + 1))
        except Exception as error:
            self._end("FAILED", "failed", f"{type(error).__name__}: {error}"[:500])
            raise
        except BaseException as error:  # told to stop: the next run takes it up
            self._trial.set_user_attr(INTERRUPTED, True)
            self._end("FAILED", "interrupted", type(error).__name__)
            raise
        return self._finish(outcome)

    def _finish(self, outcome: Outcome) -> list[float]:
        for fact, content in {**outcome.facts, "epochs": outcome.epochs}.items():
            self._trial.set_user_attr(fact, content)
        self._note()
        self._trials.end(
            self._trial.number, "FINISHED", tags={"trial": "finished"}, metrics={**self._costs, **outcome.facts}
        )
        self._say(
            f"{self._shown}: track accuracy {outcome.track_accuracy:.3f} on validation after {outcome.epochs} epochs"
        )
        return self._goals.values(outcome.track_accuracy, self._costs)

    def _end(self, status: str, kind: str, reason: str) -> None:
        self._note()
        self._trials.end(self._trial.number, status, tags={"trial": kind, "reason": reason}, metrics=dict(self._costs))
        self._say(f"{self._shown}: {kind}, {reason}")

    def _note(self) -> None:
        self._trial.set_user_attr(CURVE, self._curve)
        if run_id := self._trials.run_id(self._trial.number):
            self._trial.set_user_attr("run_id", run_id)

    def built(self, costs: Mapping[str, float]) -> None:
        """See `Watch`."""
        self._costs = dict(costs)
        for name, value in costs.items():
            self._trial.set_user_attr(name, value)
        known = self._trial.constraints  # of one that was cut off after it was built
        for name, share in self._goals.excess(costs).items():
            if name not in known:
                self._trial.set_constraint(name, share)
        if broken := self._goals.broken(costs):
            raise InfeasibleError(broken)

    def epoch(self, epoch: int, metrics: Mapping[str, float]) -> None:
        """See `Watch`."""
        self._trials.epoch(self._trial.number, epoch, metrics)
        self._curve.append(metrics["val_track_accuracy"])
        if len(self._goals.objectives) == 1:  # for Optuna's own plots; of several objectives it takes none
            self._trial.report(self._curve[-1], epoch)
        if self._deadline is not None and time.monotonic() > self._deadline:
            raise _OutOfTimeError
        reason = hopeless(
            self._configuration.architecture,
            self._curve,
            self._others,
            startup_trials=self._search.startup_trials,
            warmup_epochs=self._search.warmup_epochs,
        )
        if reason:
            raise optuna.TrialPruned(reason)


def _frozen(study: optuna.Study, trial: optuna.Trial) -> FrozenTrial:
    return study.get_trials(deepcopy=False)[trial.number]


def _in_state(study: optuna.Study, state: TrialState) -> list[FrozenTrial]:
    return study.get_trials(deepcopy=False, states=(state,))
