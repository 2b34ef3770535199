"""Results of a study: the trial to train, tables and records of all trials."""

import json
from collections import Counter
from dataclasses import dataclass

import optuna
from optuna.trial import FrozenTrial, TrialState

from genreflow.errors import GenreflowError
from genreflow.tuning.importance import ARCHITECTURE, importances, own_name, own_params
from genreflow.tuning.objectives import ACCURACY, COSTS, pareto_front, select_trial
from genreflow.tuning.params import TuneParams
from genreflow.tuning.search_space import Configuration
from genreflow.tuning.trial_states import (
    CONFIGURATION,
    INFEASIBLE,
    completed_trials,
    finite_curve,
    retry_of,
    trial_states,
)


@dataclass(frozen=True)
class BestTrial:
    """The trial whose configuration is trained.

    Parameters
    ----------
    number : int
    configuration : Configuration
    track_accuracy : float in [0, 1]
        On validation.
    epochs : int > 0
        Up to and including the best epoch.
    costs : dict of str to float
        The measured ones of ``parameters``, ``latency_ms`` and ``memory_mb``.
    front : list of int
        Numbers of the trials on the Pareto front.
    """

    number: int
    configuration: Configuration
    track_accuracy: float
    epochs: int
    costs: dict[str, float]
    front: list[int]

    def to_dict(self) -> dict:
        own = {"number": self.number, "value": self.track_accuracy, "epochs": self.epochs, "costs": self.costs}
        return {**own, **self.configuration.to_dict(), "front": self.front}


def best_trial(study: optuna.Study, tune: TuneParams) -> BestTrial:
    """Return the trial that ``tune.pick`` names.

    Raises
    ------
    GenreflowError
        No trial has completed within the limits.
    """
    trials = completed_trials(study)
    if not trials:
        raise GenreflowError(_why_none_completed(study))
    selected = select_trial(trials, tune)
    return BestTrial(
        number=selected.number,
        configuration=Configuration(**selected.user_attrs[CONFIGURATION]),
        track_accuracy=selected.values[0],
        epochs=selected.user_attrs["epochs"],
        costs=_costs(selected),
        front=[trial.number for trial in pareto_front(trials, tune)],
    )


def count_trials(study: optuna.Study) -> dict[str, int]:
    """Return the number of trials by how they ended; see `genreflow.tuning.trial_states.trial_states`."""
    counts = Counter(trial_states(study).values())
    return {state: counts[state] for state in ("finished", "pruned", "infeasible", "failed", "interrupted")}


def trials_table(study: optuna.Study, tune: TuneParams) -> list[dict]:
    """Return all trials as rows of ``reports/trials.csv``."""
    states = trial_states(study)
    return [
        {
            "number": trial.number,
            "state": _state(trial, states),
            "architecture": trial.user_attrs.get("architecture"),
            **{name: _value(trial, name, index) for index, name in enumerate(tune.objectives)},
            "seconds": round(trial.duration.total_seconds(), 1) if trial.duration else None,
            "epochs": trial.user_attrs.get("epochs"),
            "infeasible": trial.user_attrs.get(INFEASIBLE),
            "run_id": trial.user_attrs.get("run_id"),
            "params": json.dumps(trial.params, sort_keys=True),
        }
        for trial in study.get_trials(deepcopy=False)
    ]


def study_record(study: optuna.Study, tune: TuneParams) -> dict:
    """Return everything that reports show of a study, ready for JSON.

    Returns
    -------
    dict
        - ``study`` : str, its name
        - ``objectives`` : list of str, ``track_accuracy`` first
        - ``pareto_front`` : list of int, numbers of the trials on the Pareto front, the most accurate first
        - ``chosen`` : int or None, number of the trial that `best_trial` selects
        - ``importances`` : dict of str to float, by hyperparameter; see `genreflow.tuning.importance`
        - ``log_scale`` : list of str, hyperparameters searched on a logarithmic scale
        - ``trials`` : list of dict, in the order of their numbers, each with

          - ``number`` : int
          - ``state`` : {"finished", "pruned", "infeasible", "failed", "interrupted", "running", "waiting"}
          - ``architecture`` : str or None
          - ``values`` : dict of str to float, by objective; empty unless the trial finished
          - ``costs`` : dict of str to float, the measured ones of ``parameters``, ``latency_ms``, ``memory_mb``
          - ``params`` : dict of str to any, hyperparameters without the prefix of their architecture
          - ``curve`` : list of float or None, track accuracy on validation after each epoch
          - ``constraints`` : dict of str to float, > 0 where violated, as a share of the limit
          - ``infeasible`` : str or None, which limits it exceeds
          - ``retry_of`` : int or None, number of the interrupted trial that it repeats
          - ``seconds`` : float or None
          - ``epochs`` : int or None, up to and including its best epoch
          - ``run_id`` : str or None, its run in MLflow
    """
    trials, completed, states = study.get_trials(deepcopy=False), completed_trials(study), trial_states(study)
    log_scale = {
        own_name(name, trial)
        for trial in trials
        for name, distribution in trial.distributions.items()
        if getattr(distribution, "log", False)
    }
    return {
        "study": study.study_name,
        "objectives": list(tune.objectives),
        "pareto_front": [trial.number for trial in pareto_front(completed, tune)],
        "chosen": select_trial(completed, tune).number if completed else None,
        "importances": importances(completed),
        "log_scale": sorted(log_scale),
        "trials": [_trial_record(trial, tune, state=_state(trial, states)) for trial in trials],
    }


def _trial_record(trial: FrozenTrial, tune: TuneParams, *, state: str) -> dict:
    attributes = trial.user_attrs
    values = trial.values if trial.state == TrialState.COMPLETE else ()
    return {
        "number": trial.number,
        "state": state,
        "architecture": attributes.get("architecture") or trial.params.get("architecture"),
        "values": dict(zip(tune.objectives, values, strict=False)),
        "costs": _costs(trial),
        "params": {name: value for name, value in own_params(trial).items() if name != ARCHITECTURE},
        "curve": finite_curve(trial),
        "constraints": dict(trial.constraints),
        "infeasible": attributes.get(INFEASIBLE),
        "retry_of": retry_of(trial),
        "seconds": trial.duration.total_seconds() if trial.duration else None,
        "epochs": attributes.get("epochs"),
        "run_id": attributes.get("run_id"),
    }


def _why_none_completed(study: optuna.Study) -> str:
    trials = study.get_trials(deepcopy=False)
    reasons = [trial.user_attrs[INFEASIBLE] for trial in trials if INFEASIBLE in trial.user_attrs]
    if reasons:
        return (
            f"Study {study.study_name}: no trial has completed within the limits (for example {reasons[0]}); raise the "
            "limit, add an architecture, or raise tune.trials."
        )
    return (
        f"Study {study.study_name}: no trial has completed ({len(trials)} failed or were pruned); see their runs in "
        "MLflow for the reasons, and raise tune.trials to continue."
    )


def _state(trial: FrozenTrial, states: dict[int, str]) -> str:
    return states.get(trial.number, trial.state.name.lower())


def _costs(trial: FrozenTrial) -> dict[str, float]:
    return {cost: trial.user_attrs[cost] for cost in COSTS if cost in trial.user_attrs}


def _value(trial: FrozenTrial, objective: str, index: int) -> float | None:
    if trial.state == TrialState.COMPLETE:
        return trial.values[index]
    return None if objective == ACCURACY else trial.user_attrs.get(objective)
