"""What a study found: the trial to train, a table of all, and trials that a later study may start from."""

import json
from collections.abc import Sequence
from dataclasses import dataclass

import optuna
from optuna.storages import RDBStorage
from optuna.trial import TrialState

from genreflow.errors import GenreflowError
from genreflow.tuning.objectives import ACCURACY, Goals, choose, finished, front
from genreflow.tuning.search_space import Configuration, Search
from genreflow.tuning.storage import INFEASIBLE, endings
from genreflow.tuning.study import CONFIGURATION

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


def _value(trial: optuna.trial.FrozenTrial, name: str, at: int) -> float | None:
    if trial.state == TrialState.COMPLETE:
        return trial.values[at]
    return None if name == ACCURACY else trial.user_attrs.get(name)
