"""What a study found: the trial to train, a table of all, and trials that a later study may start from."""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass

import optuna
from optuna.storages import RDBStorage
from optuna.trial import FrozenTrial, TrialState

from genreflow.errors import GenreflowError
from genreflow.tuning.importance import ARCHITECTURE, importances, own_name, own_params
from genreflow.tuning.objectives import ACCURACY, COSTS, Goals, choose, finished, front
from genreflow.tuning.search_space import Configuration, Search
from genreflow.tuning.storage import INFEASIBLE, began_as, endings
from genreflow.tuning.study import CONFIGURATION, CURVE

# Trials of an earlier study that a new one begins with, at most.
STARTED_FROM = 3
# Of a study: when it was opened, and the tracks that chose its trials.
OPENED, SEEN, LEAKING = "opened", "seen", "leaking"


@dataclass(frozen=True)
class BestTrial:
    """The trial that is to be trained.

    Parameters
    ----------
    number : int
    configuration : Configuration
    track_accuracy : float in [0, 1]
        On validation.
    epochs : int
        Until it was reached.
    costs : dict of str to float
        Those that were measured.
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


def best_trial(study: optuna.Study, goals: Goals) -> BestTrial:
    """The trial that `goals` pick.

    Raises
    ------
    GenreflowError
        None has finished within the limits.
    """
    trials = finished(study)
    if not trials:
        every = study.get_trials(deepcopy=False)
        reasons = [trial.user_attrs[INFEASIBLE] for trial in every if INFEASIBLE in trial.user_attrs]
        if reasons:
            raise GenreflowError(
                f"No trial of the study {study.study_name} has finished within the limits ({reasons[0]}); a higher "
                "limit, another architecture, or more tune.trials is needed."
            )
        raise GenreflowError(
            f"No trial of the study {study.study_name} has finished ({len(every)} failed or were pruned); "
            "their runs in MLflow say why, and raising tune.trials goes on."
        )
    taken = choose(trials, goals)
    return BestTrial(
        number=taken.number,
        configuration=Configuration(**taken.user_attrs[CONFIGURATION]),
        track_accuracy=taken.values[0],
        epochs=taken.user_attrs["epochs"],
        costs={
            name: taken.user_attrs[name]
            for name in ("parameters", "latency_ms", "memory_mb")
            if name in taken.user_attrs
        },
        front=[trial.number for trial in front(trials, goals)],
    )


def counts(study: optuna.Study) -> dict[str, int]:
    """How many trials ended in which way, those that were cut off and tried again apart."""
    found = dict.fromkeys(("finished", "pruned", "infeasible", "failed", "interrupted"), 0)
    for how in endings(study).values():
        found[how] += 1
    return found


def table(study: optuna.Study, goals: Goals) -> list[dict]:
    """All trials, a row each."""
    how = endings(study)
    return [
        {
            "number": trial.number,
            "state": how.get(trial.number, trial.state.name.lower()),
            "architecture": trial.user_attrs.get("architecture"),
            **{name: _value(trial, name, at) for at, name in enumerate(goals.objectives)},
            "seconds": round(trial.duration.total_seconds(), 1) if trial.duration else None,
            "epochs": trial.user_attrs.get("epochs"),
            "infeasible": trial.user_attrs.get(INFEASIBLE),
            "run_id": trial.user_attrs.get("run_id"),
            "params": json.dumps(trial.params, sort_keys=True),
        }
        for trial in study.get_trials(deepcopy=False)
    ]


def study_record(study: optuna.Study, goals: Goals) -> dict:
    """Everything that reports show of a study, ready for JSON.

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
          - ``epochs`` : int or None, until its best epoch
          - ``run_id`` : str or None, its run in MLflow
    """
    trials, finished_trials = study.get_trials(deepcopy=False), finished(study)
    how = endings(study)
    return {
        "study": study.study_name,
        "objectives": list(goals.objectives),
        "pareto_front": [trial.number for trial in front(finished_trials, goals)],
        "chosen": choose(finished_trials, goals).number if finished_trials else None,
        "importances": importances(finished_trials),
        "log_scale": sorted(
            {
                own_name(name, trial)
                for trial in trials
                for name, distribution in trial.distributions.items()
                if getattr(distribution, "log", False)
            }
        ),
        "trials": [_trial_record(trial, goals, state=how.get(trial.number)) for trial in trials],
    }


def _trial_record(trial: FrozenTrial, goals: Goals, *, state: str | None) -> dict:
    attributes = trial.user_attrs
    values = trial.values if trial.state == TrialState.COMPLETE else ()
    return {
        "number": trial.number,
        "state": state or trial.state.name.lower(),
        "architecture": attributes.get("architecture") or trial.params.get("architecture"),
        "values": dict(zip(goals.objectives, values, strict=False)),
        "costs": {cost: attributes[cost] for cost in COSTS if cost in attributes},
        "params": {name: value for name, value in own_params(trial).items() if name != ARCHITECTURE},
        "curve": [value if math.isfinite(value) else None for value in attributes.get(CURVE, ())],
        "constraints": dict(trial.constraints),
        "infeasible": attributes.get(INFEASIBLE),
        "retry_of": began_as(trial),
        "seconds": trial.duration.total_seconds() if trial.duration else None,
        "epochs": attributes.get("epochs"),
        "run_id": attributes.get("run_id"),
    }


def best_of_previous(
    storage: RDBStorage, search: Search, *, name: str, leaking: bool, test: set[str], say=print
) -> Sequence[dict]:
    """Parameters of the best trials of the study before this one, with the same search space.

    Nothing is taken over from one whose training or validation tracks are tested now: what was chosen by them knows
    them.

    Parameters
    ----------
    storage : RDBStorage
    search : Search
    name : str
        Of the study that is to start.
    leaking : bool
        Whether its split leaks.
    test : set of str
        Hashes of its test tracks.
    """
    earlier = [
        summary
        for summary in optuna.get_all_study_summaries(storage)
        if summary.study_name != name
        and summary.user_attrs.get("space") == search.space
        and summary.user_attrs.get(LEAKING) == leaking
        and SEEN in summary.user_attrs
    ]
    for summary in sorted(earlier, key=lambda summary: summary.user_attrs[OPENED], reverse=True):
        if known := len(test & set(summary.user_attrs[SEEN])):
            say(f"not starting from study {summary.study_name}: it was chosen by {known} of the tracks that test now")
            continue
        study = optuna.load_study(study_name=summary.study_name, storage=storage)
        best = sorted(finished(study), key=lambda trial: -trial.values[0])[:STARTED_FROM]
        if best:
            say(f"starting from the best {len(best)} trials of study {summary.study_name}")
            return [trial.params for trial in best]
    return []


def _value(trial: FrozenTrial, name: str, at: int) -> float | None:
    if trial.state == TrialState.COMPLETE:
        return trial.values[at]
    return None if name == ACCURACY else trial.user_attrs.get(name)
