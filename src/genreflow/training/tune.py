"""An Optuna study over architectures and their hyperparameters; every trial is a child run in MLflow."""

import json
import warnings
from collections.abc import Callable, Mapping
from typing import Protocol

import optuna
from optuna.storages import RDBStorage, RetryHeartbeatStaleTrialCallback
from optuna.trial import TrialState

from genreflow.errors import GenreflowError
from genreflow.training.search import BestTrial, Search, defaults, suggest

OVER = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL)
# A worker that gave no sign of life for this long is taken for dead, and its trial is queued again.
HEARTBEAT_S, GRACE_S = 10, 40


class Trials(Protocol):
    """Where the trials are written down; `genreflow.tracking.study.StudyTrials` makes each a run in MLflow."""

    def start(self, number: int, params: Mapping[str, object]) -> str: ...
    def epoch(self, run_id: str, epoch: int, metrics: Mapping[str, float]) -> None: ...
    def end(self, run_id: str, status: str, tags: Mapping[str, object]) -> None: ...


OnEpoch = Callable[[int, Mapping[str, float]], None]
# (architecture, learning rate, hyperparameters, on_epoch) -> best track accuracy, epochs until then, facts
Objective = Callable[[str, float, dict, OnEpoch], tuple[float, int, dict]]


def run_study(
    objective: Objective,
    search: Search,
    *,
    name: str,
    storage: str,
    trials: Trials,
    end_lost: Callable[[set[int]], object] = lambda alive: None,
    say: Callable[[str], None] = print,
) -> tuple[BestTrial, list[dict]]:
    """Run a study, or go on with one of the same name, until it has `search.trials` trials.

    Parameters
    ----------
    objective : callable
        ``objective(architecture, learning_rate, hyperparameters, on_epoch)`` fits a model, calls
        ``on_epoch(epoch, metrics)`` with ``metrics["val_track_accuracy"]`` after each epoch, and returns the best track
        accuracy on validation, the epochs it took, and facts to write down.
    search : Search
    name : str
        From `study_name`.
    storage : str
        URL of Optuna's storage.
    trials : Trials
        Where every trial becomes a run.

    end_lost : callable
        Called with the numbers of the trials that are still running; ends the runs of all others that look as if
        they were, because their process was killed.

    Returns
    -------
    best : BestTrial
    table : list of dict
        All trials, for a report.

    Raises
    ------
    GenreflowError
        When no trial has finished.
    """
    study = _open_study(search, name, storage)
    optuna.storages.fail_stale_trials(study)
    end_lost(_running(study))
    over = len(study.get_trials(deepcopy=False, states=OVER))
    if over:
        say(f"study {name}: going on after {over} trials")
    else:
        for architecture in search.architectures:  # the values its author would start from, before any search
            study.enqueue_trial(defaults(architecture, search), skip_if_exists=True)

    def run(trial: optuna.Trial) -> float:
        return _run_trial(trial, objective, search, trials, say)

    def enough(study: optuna.Study, _: optuna.trial.FrozenTrial) -> None:
        if len(study.get_trials(deepcopy=False, states=OVER)) >= search.trials:
            study.stop()

    if over < search.trials:
        study.optimize(run, timeout=search.timeout, catch=(Exception,), callbacks=[enough])
        end_lost(_running(study))
    return _best(study, search), _table(study)


def _open_study(search: Search, name: str, storage: str) -> optuna.Study:
    optuna.logging.set_verbosity(optuna.logging.ERROR)  # what happens is said here, in fewer words
    warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)
    database = RDBStorage(
        storage,
        heartbeat_interval=HEARTBEAT_S,
        grace_period=GRACE_S,
        heartbeat_stale_trial_callback=RetryHeartbeatStaleTrialCallback(max_retry=2),
    )
    study = optuna.create_study(
        study_name=name,
        storage=database,
        direction="maximize",
        load_if_exists=True,
        pruner=optuna.pruners.MedianPruner(
            n_startup_trials=search.startup_trials, n_warmup_steps=search.warmup_epochs, n_min_trials=2
        ),
    )
    # A study that goes on must not draw the numbers again that it drew before.
    study.sampler = optuna.samplers.TPESampler(
        seed=search.seed + len(study.get_trials(deepcopy=False)), multivariate=True, group=True, n_startup_trials=6
    )
    return study


def _run_trial(
    trial: optuna.Trial, objective: Objective, search: Search, trials: Trials, say: Callable[[str], None]
) -> float:
    architecture, learning_rate, own = suggest(trial, search)
    shown = f"trial {trial.number + 1}/{search.trials} {architecture}, learning rate {learning_rate:.2g}"
    run_id = trials.start(trial.number, trial.params)
    trial.set_user_attr("run_id", run_id)

    def on_epoch(epoch: int, metrics: Mapping[str, float]) -> None:
        trials.epoch(run_id, epoch, metrics)
        trial.report(metrics["val_track_accuracy"], epoch)
        if trial.should_prune():
            raise optuna.TrialPruned(f"below the median of the other trials after epoch {epoch + 1}")

    try:
        value, epochs, facts = objective(architecture, learning_rate, own, on_epoch)
    except optuna.TrialPruned as pruned:
        trials.end(run_id, "KILLED", {"trial": "pruned", "reason": str(pruned)})
        say(f"{shown}: pruned, {pruned}")
        raise
    except BaseException as error:
        reason = f"{type(error).__name__}: {error}"[:500]
        trials.end(run_id, "FAILED", {"trial": "failed", "reason": reason})
        say(f"{shown}: failed, {reason}")
        raise
    for fact, content in {"architecture": architecture, "epochs": epochs, **facts}.items():
        trial.set_user_attr(fact, content)
    trials.end(run_id, "FINISHED", {"trial": "finished", **facts})
    say(f"{shown}: track accuracy {value:.3f} on validation after {epochs} epochs")
    return value


def _running(study: optuna.Study) -> set[int]:
    return {trial.number for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))}


def _best(study: optuna.Study, search: Search) -> BestTrial:
    finished = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    if not finished:
        reasons = {t.user_attrs.get("run_id"): t.state.name for t in study.get_trials(deepcopy=False)}
        raise GenreflowError(
            f"No trial of the study {study.study_name} has finished ({len(reasons)} failed or were pruned); "
            "their runs in MLflow say why, and raising tune.trials goes on."
        )
    # Among equals of a small validation split, the one that was surer of the right answers.
    best = max(finished, key=lambda t: (t.value, -t.user_attrs.get("val_loss", float("inf"))))
    architecture = best.user_attrs["architecture"]
    own = {
        knob.removeprefix(f"{architecture}."): value
        for knob, value in best.params.items()
        if knob.startswith(f"{architecture}.")
    }
    learning_rate = own.pop("learning_rate")
    own |= search.fixed.get(architecture, {})
    return BestTrial(best.number, architecture, own, learning_rate, best.value, best.user_attrs["epochs"])


def _table(study: optuna.Study) -> list[dict]:
    return [
        {
            "number": t.number,
            "state": t.state.name,
            "value": t.value,
            "seconds": round(t.duration.total_seconds(), 1) if t.duration else None,
            "epochs": len(t.intermediate_values),
            "run_id": t.user_attrs.get("run_id"),
            "params": json.dumps(t.params, sort_keys=True),
        }
        for t in study.get_trials(deepcopy=False)
    ]
