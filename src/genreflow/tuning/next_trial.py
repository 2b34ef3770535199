"""Which trial a study runs next, and with which parameters.

They depend on the seed and on the results at the positions before, not on trials that were interrupted: a study that is
stopped and resumed runs the same trials as one that is not. Optuna's samplers read all trials of a study, in the order
of their numbers, so that interrupted ones would change what they draw. So parameters are sampled in a copy of the study
that has one trial per position, and are queued in the study itself.
"""

import optuna
from optuna.storages import RDBStorage
from optuna.trial import TrialState

from genreflow.processes import this_process
from genreflow.tuning.params import TuneParams
from genreflow.tuning.sampling import suggest
from genreflow.tuning.search_space import SearchSpace
from genreflow.tuning.trial_states import (
    PARAMETERS,
    POSITION,
    RETRY_OF,
    WORKER,
    attempts_by_position,
    is_to_be_repeated,
)

# User attribute of a study: the parameters of its first positions.
FIRST = "first_trials"
# Trials sampled at random before the TPE sampler models the results.
RANDOM_TRIALS = 6


def queue_next_trial(
    study: optuna.Study, storage: RDBStorage, tune: TuneParams, space: SearchSpace, *, parallel: bool
) -> int:
    """Queue a trial of the first position that has no result and that none runs at, and return its ID in the storage.

    It becomes the only trial in Optuna's queue. Call it under `genreflow.tuning.storage.exclusive`.

    Parameters
    ----------
    study : optuna.Study
    storage : RDBStorage
    tune : TuneParams
    space : SearchSpace
    parallel : bool
        Whether there may be other workers: the parameters of running trials are then avoided.
    """
    if not _waiting(study):  # a worker that died before it started a trial leaves one
        study.enqueue_trial(*_next_trial(study, tune, space, parallel=parallel))
    (number,) = _waiting(study)
    study_id = storage.get_study_id_from_name(study.study_name)
    trial_id = storage.get_trial_id_from_study_id_trial_number(study_id, number)
    # Both before the trial starts: one without a heartbeat never becomes stale.
    storage.set_trial_user_attr(trial_id, WORKER, this_process())
    storage.record_heartbeat(trial_id)
    return trial_id


def _waiting(study: optuna.Study) -> list[int]:
    return [trial.number for trial in study.get_trials(deepcopy=False, states=(TrialState.WAITING,))]


def _next_trial(study: optuna.Study, tune: TuneParams, space: SearchSpace, *, parallel: bool) -> tuple[dict, dict]:
    """Return the parameters of the next trial, and its user attributes."""
    positions = attempts_by_position(study)
    for position, attempts in positions.items():
        if is_to_be_repeated(attempts):
            parameters, more = attempts[-1].user_attrs[PARAMETERS], {RETRY_OF: attempts[-1].number}
            return parameters, {POSITION: position, PARAMETERS: parameters, **more}
    position, first = max(positions, default=-1) + 1, study.user_attrs[FIRST]
    parameters = first[position] if position < len(first) else _sample(study, tune, space, position, parallel=parallel)
    return parameters, {POSITION: position, PARAMETERS: parameters}


def _sample(study: optuna.Study, tune: TuneParams, space: SearchSpace, position: int, *, parallel: bool) -> dict:
    sampler = optuna.samplers.TPESampler(
        seed=(tune.seed + position) % 2**32,
        multivariate=True,
        group=True,
        n_startup_trials=RANDOM_TRIALS,
        constant_liar=parallel,
    )
    copy = optuna.create_study(directions=study.directions, sampler=sampler)
    for attempts in attempts_by_position(study).values():
        trial = attempts[-1]
        if trial.state in (TrialState.COMPLETE, TrialState.PRUNED):
            copy.add_trial(trial)
        elif trial.state == TrialState.RUNNING:
            copy.enqueue_trial(trial.user_attrs[PARAMETERS])
            suggest(copy.ask(), space)
    sampled = copy.ask()
    suggest(sampled, space)
    return sampled.params
