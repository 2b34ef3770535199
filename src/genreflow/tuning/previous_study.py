"""Configurations that a new study takes over from the one before it (``tune.start_from: previous``)."""

import logging
from collections.abc import Collection

import optuna
from optuna.storages import RDBStorage

from genreflow.tuning.search_space import SearchSpace
from genreflow.tuning.study import SPACE
from genreflow.tuning.trial_states import completed_trials

logger = logging.getLogger(__name__)

# Trials that are taken over at most.
MAX_TRIALS = 3
# User attributes of a study: when it was created, the hashes of its training and validation tracks, whether its split
# leaks.
OPENED, SEEN, LEAKING = "opened", "seen", "leaking"


def best_parameters_of_previous_study(
    storage: RDBStorage, space: SearchSpace, *, name: str, leaking: bool, test_tracks: Collection[str]
) -> list[dict]:
    """Return the parameters of the best trials of the latest study with the same search space.

    A study that trained or validated on a track that is in the test part now is skipped: its choice depends on that
    track, and the test metrics would be optimistically biased.

    Parameters
    ----------
    storage : RDBStorage
    space : SearchSpace
    name : str
        Of the new study.
    leaking : bool
        Whether the split of the new study leaks; studies with the other kind of split are skipped.
    test_tracks : collection of str
        Hashes of the new study's test tracks.

    Returns
    -------
    parameters : list of dict
        At most `MAX_TRIALS`, the most accurate first; empty if there is no such study.
    """
    previous = [
        summary
        for summary in optuna.get_all_study_summaries(storage)
        if summary.study_name != name
        and summary.user_attrs.get(SPACE) == space.hash
        and summary.user_attrs.get(LEAKING) == leaking
        and SEEN in summary.user_attrs
    ]
    for summary in sorted(previous, key=lambda summary: summary.user_attrs[OPENED], reverse=True):
        if overlap := set(test_tracks).intersection(summary.user_attrs[SEEN]):
            logger.info(
                "study %s is not used as a start: %d of its training and validation tracks are test tracks now",
                summary.study_name,
                len(overlap),
            )
            continue
        study = optuna.load_study(study_name=summary.study_name, storage=storage)
        best = sorted(completed_trials(study), key=lambda trial: -trial.values[0])[:MAX_TRIALS]
        if best:
            logger.info("starting from the best %d trials of study %s", len(best), summary.study_name)
            return [trial.params for trial in best]
    return []
