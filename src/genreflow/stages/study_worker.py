"""A worker of the project's study: the one that DVC starts, those that this one starts, or one on another machine."""

import logging
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING

from genreflow.cores import usable_cores
from genreflow.features.spec import FilterBank
from genreflow.interruption import Interruption
from genreflow.logs import configure_logging
from genreflow.models.keras_import import import_keras
from genreflow.params import Params, load_params
from genreflow.stages import PROJECT
from genreflow.stages.embeddings import Embeddings, load_segments
from genreflow.stages.inputs import Data
from genreflow.stages.study_architectures import searched
from genreflow.tuning.params import TuneParams
from genreflow.tuning.search_space import SearchSpace, study_name

if TYPE_CHECKING:  # TensorFlow, MLflow and Optuna take ten seconds to import; params.yaml and data are checked before
    import optuna
    from optuna.storages import RDBStorage

    from genreflow.tracking.runs import LoggedRun
    from genreflow.tuning.fit_trial import FitTrial
    from genreflow.tuning.run_trial import Objective

logger = logging.getLogger(__name__)

# Environment variable with the URL of Optuna's storage, for URLs with a password, which does not belong in params.yaml.
STORAGE_VARIABLE = "GENREFLOW_STORAGE"
# TensorFlow's environment variables for the size of its thread pools.
THREAD_VARIABLES = ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS")


@dataclass(frozen=True)
class StudyPlan:
    """The study that params.yaml and the data describe.

    Parameters
    ----------
    params : Params
    data : Data
    space : SearchSpace
    name : str
        Of the study; it begins with "leaking" if the split leaks.
    bank : FilterBank
        Of the features.
    embeddings : Embeddings or None
        If an architecture of `space` takes them.
    """

    params: Params
    data: Data
    space: SearchSpace
    name: str
    bank: FilterBank
    embeddings: Embeddings | None

    @classmethod
    def load(cls) -> "StudyPlan":
        """Read params.yaml and the data of the project."""
        from genreflow.tuning.objectives import limits

        params, data = load_params(), Data.load(verify_features=True)
        architectures, embeddings = searched(params, data)
        space = SearchSpace.from_params(params.tune, params.train, params.segments, architectures)
        name = study_name(
            space,
            params.tune,
            data.hashes,
            params.segments.model_dump(exclude_none=True),
            params.train.model_dump(exclude={"epochs"}),
            [params.tune.objectives, limits(params.tune)],
            *([embeddings.store.spec.key] if embeddings else []),
        )
        return cls(params, data, space, data.split.prefixed(name, sep="-"), data.load_filter_bank(), embeddings)

    @property
    def seen_tracks(self) -> list[str]:
        """Hashes of the training and validation tracks."""
        return self.data.hashes_of((*self.data.split.train, *self.data.split.valid))

    @property
    def test_tracks(self) -> set[str]:
        """Hashes of the test tracks."""
        return set(self.data.hashes_of(self.data.split.test))

    @property
    def storage_url(self) -> str:
        """URL of Optuna's storage."""
        from genreflow.sqlite import sqlite_url
        from genreflow.tracking.store import project_root

        url = self.params.compute.storage or os.environ.get(STORAGE_VARIABLE)
        return url or sqlite_url(project_root(PROJECT) / "optuna.db")


@dataclass(frozen=True)
class CompletedStudy:
    """A study whose trials have all ended, and its run in MLflow, which is still active."""

    study: "optuna.Study"
    tune: TuneParams
    data: Data
    run: "LoggedRun"
    lineage: dict[str, str]


@contextmanager
def run_worker(*, lead: bool) -> Iterator[CompletedStudy]:
    """Run trials of the project's study until it is complete; its run in MLflow ends with the block.

    SIGTERM interrupts it like Ctrl-C, so that its trial is marked as interrupted and repeated.

    Parameters
    ----------
    lead : bool
        Whether this is the worker that starts the ``compute.trial_workers - 1`` others, and reports the results.
    """
    plan = StudyPlan.load()
    workers = plan.params.compute.trial_workers if lead else 1
    worker = "" if lead else f"[worker {os.getpid()}] "
    configure_logging(prefix=worker + plan.data.split.prefixed("", sep=" "))
    _share_cores(workers)
    import_keras()
    from genreflow.tracking.lineage import lineage_tags
    from genreflow.tracking.runs import run_name
    from genreflow.tracking.store import ensure_experiment, open_client
    from genreflow.tracking.study import study_run
    from genreflow.tuning.storage import closing, exclusive, open_storage

    data, storage, client = plan.data, open_storage(plan.storage_url), open_client(PROJECT)
    experiment = ensure_experiment(client, PROJECT)
    tags = lineage_tags(PROJECT, **data.hashes, **data.split.tags)
    with (
        closing(storage),
        Interruption() as interruption,
        study_run(
            client,
            experiment.experiment_id,
            plan.name,
            name=run_name(data.split.prefixed(f"study {plan.params.data.source}", sep=" ")),
            params=_run_params(plan.params, plan.space),
            tags=tags,
            lead=lead,
            lock=partial(exclusive, storage),
        ) as run,
    ):
        study = _open_study(plan, storage)
        objective = interruption.guard(_objective(plan))
        _run_trials(plan, study, storage, run, objective, tags, lead=lead, workers=workers)
        yield CompletedStudy(study, plan.params.tune, data, run, tags)


def _open_study(plan: StudyPlan, storage: "RDBStorage") -> "optuna.Study":
    from genreflow.tuning.previous_study import LEAKING, OPENED, SEEN, best_parameters_of_previous_study
    from genreflow.tuning.study import open_study

    leaking = plan.data.split.leaking

    def first_trials() -> list[dict]:
        if plan.params.tune.start_from is None:
            return []
        return best_parameters_of_previous_study(
            storage, plan.space, name=plan.name, leaking=leaking, test_tracks=plan.test_tracks
        )

    attributes = {OPENED: datetime.now(UTC).isoformat(), LEAKING: leaking, SEEN: plan.seen_tracks, **plan.data.hashes}
    return open_study(
        plan.params.tune, plan.space, storage, name=plan.name, attributes=attributes, first_trials=first_trials
    )


def _run_trials(
    plan: StudyPlan,
    study: "optuna.Study",
    storage: "RDBStorage",
    run: "LoggedRun",
    objective: "Objective",
    tags: dict[str, str],
    *,
    lead: bool,
    workers: int,
) -> None:
    from genreflow.tracking.trials import StudyTrials
    from genreflow.tuning.study import run_study
    from genreflow.tuning.trial_states import trial_states

    trials: StudyTrials = StudyTrials(
        run,
        tags=tags,
        name=plan.data.split.prefixed("trial", sep=" "),
        dataset=plan.data.dataset(plan.params.data.path),
    )
    try:
        with _local_workers(workers - 1):
            run_study(
                study,
                storage,
                objective,
                tune=plan.params.tune,
                space=plan.space,
                tracker=trials,
                parallel=not lead or workers > 1,
            )
        if lead:
            trials.end_orphaned(trial_states(study))
    finally:
        trials.stop()


def _objective(plan: StudyPlan) -> "FitTrial":
    from genreflow.tuning.fit_trial import FitTrial

    params, data = plan.params, plan.data
    return FitTrial(
        lambda segments, embeddings: load_segments(data, segments, plan.embeddings if embeddings else None),
        params.segments,
        params.train.model_copy(update={"epochs": params.tune.epochs}),
        params.tune,
        spec=data.store.spec,
        bank=plan.bank,
    )


def _run_params(params: Params, space: SearchSpace) -> dict[str, object]:
    """Return the parameters of the study's run in MLflow."""
    return {
        "source": params.data.source,
        "architectures": ", ".join(space.architectures),
        "searched": ", ".join(params.tune.search),
        "objectives": ", ".join(params.tune.objectives),
        **{f"segment_{name}": value for name, value in params.segments.model_dump(exclude_none=True).items()},
        "split": params.split.method,
        "epochs": params.tune.epochs,
    }


def _share_cores(workers: int) -> None:
    """Divide the cores between workers on this machine; those that this one starts inherit its environment."""
    if workers > 1:
        for variable in THREAD_VARIABLES:  # TensorFlow reads them when it is imported
            os.environ.setdefault(variable, str(max(1, usable_cores() // workers)))


@contextmanager
def _local_workers(number: int) -> Iterator[None]:
    """Run other workers on this machine beside the block, and wait for them; an error in the block terminates them."""
    command = [sys.executable, "-c", "from genreflow.cli import main; main()", "tune", "--worker"]
    processes = [subprocess.Popen(command) for _ in range(number)]
    try:
        yield
    except BaseException:
        for process in processes:
            process.terminate()
        raise
    finally:
        for process in processes:
            process.wait()
    for process in processes:
        if code := process.returncode:
            how = f"was ended by {signal.Signals(-code).name}" if code < 0 else f"failed with exit code {code}"
            logger.warning("worker %d %s; the study was completed without it", process.pid, how)
