"""A worker of the project's study: the one that DVC starts, those beside it, and those on other machines."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING

from genreflow.cores import usable_cores
from genreflow.features.spec import FilterBank
from genreflow.models.keras_import import import_keras
from genreflow.params import Params, load_params
from genreflow.stages import FEATURES, FILTERS, PROJECT, say
from genreflow.stages.inputs import Data

if TYPE_CHECKING:
    import optuna

    from genreflow.tracking.runs import LoggedRun
    from genreflow.tuning.objectives import Goals

# Names Optuna's storage where params.yaml does not: an address with a password is nothing for a file in git.
STORAGE_VARIABLE = "GENREFLOW_STORAGE"


@dataclass(frozen=True)
class Finished:
    """A study that is over, and its run in MLflow."""

    study: "optuna.Study"
    goals: "Goals"
    data: Data
    run: "LoggedRun"
    lineage: dict[str, str]


@contextmanager
def work(*, lead: bool) -> Iterator[Finished]:
    """Work on the study that params.yaml and the data name, until it is over; its run in MLflow ends with the block.

    Parameters
    ----------
    lead : bool
        The worker that starts ``compute.trial_workers - 1`` others, and says what the study found.
    """
    params, data = load_params(), Data.load()
    workers = params.compute.trial_workers if lead else 1
    if workers > 1:  # they share the cores; those that are started beside this one inherit it
        for variable in ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS"):
            os.environ.setdefault(variable, str(max(1, usable_cores() // workers)))
    # Keras is imported after the parameters and inputs are known to be sound: it takes ten seconds.
    import_keras()
    from genreflow.tracking.runs import lineage_tags
    from genreflow.tracking.store import ensure_experiment, open_client, project_root
    from genreflow.tracking.study import study_run
    from genreflow.tracking.trials import StudyTrials
    from genreflow.tuning.objectives import Goals
    from genreflow.tuning.results import best_of_previous
    from genreflow.tuning.search_space import Search, study_name
    from genreflow.tuning.storage import open_storage, turn
    from genreflow.tuning.study import open_study, run_study

    tune = params.tune.model_dump()
    goals = Goals(**{name: tune[name] for name in Goals.__dataclass_fields__})
    search = Search(knobs=params.knobs, **{n: tune[n] for n in Search.__dataclass_fields__ if n in tune})
    name = study_name(
        search,
        data.hashes,
        params.segments.model_dump(exclude_none=True),
        params.train.model_dump(exclude={"epochs"}),
        [goals.objectives, goals.limits],
    )
    name = data.split.prefixed(name, sep="-")
    tell = _teller(data, lead=lead)
    url = params.compute.storage or os.environ.get(STORAGE_VARIABLE)
    storage = open_storage(url or f"sqlite:///{project_root(PROJECT) / 'optuna.db'}")
    seen = [track.hash for part in ("train", "valid") for track in data.usable(data.split.parts[part])]
    about = {"opened": datetime.now(UTC).isoformat(), "leaking": data.split.leaking, "seen": seen, **data.hashes}

    def start_from(_: "optuna.Study") -> list[dict]:
        if params.tune.start_from is None:
            return []
        test = {track.hash for track in data.usable(data.split.test)}
        return best_of_previous(storage, search, name=name, leaking=data.split.leaking, test=test, say=tell)

    client = open_client(PROJECT)
    experiment = ensure_experiment(client, PROJECT)
    tags = lineage_tags(PROJECT, **data.hashes, **data.split.tags)
    described = {"params": _described(params), "tags": tags, "lead": lead, "turn": partial(turn, storage)}
    with study_run(client, experiment.experiment_id, name, **described) as run:
        study = open_study(search, goals, storage, name=name, about=about, start_from=start_from)
        dataset = data.lineage(params.data.path)
        trials = StudyTrials(run, tags=tags, name=data.split.prefixed("trial", sep=" "), dataset=dataset)
        try:
            with _beside(workers - 1, tell):
                run_study(
                    study,
                    storage,
                    _objective(params, data, goals),
                    search,
                    goals,
                    trials=trials,
                    settle=trials.settle,
                    alone=lead and workers == 1,
                    say=tell,
                )
        finally:
            trials.close(say=tell)
        yield Finished(study, goals, data, run, tags)


def _objective(params: Params, data: Data, goals: "Goals") -> Callable:
    from genreflow.training.data import load_training_data
    from genreflow.tuning.trial import Trial

    return Trial(
        lambda cut: load_training_data(data.store, data.manifest, data.split, cut),
        params.segments,
        params.train.model_copy(update={"epochs": params.tune.epochs}),
        goals,
        spec=data.store.spec,
        bank=FilterBank.load(FEATURES / FILTERS),
    )


def _teller(data: Data, *, lead: bool) -> Callable[[str], None]:
    """Lines of progress, marked where the split leaks and where another worker speaks."""
    worker = "" if lead else f"[worker {os.getpid()}] "
    return lambda line: say(worker + data.split.prefixed(line, sep=" "))


def _described(params: Params) -> dict[str, object]:
    return {
        "source": params.data.source,
        "architectures": ", ".join(params.tune.architectures),
        "searched": ", ".join(params.tune.search),
        "objectives": ", ".join(params.tune.objectives),
        **{f"segment_{name}": value for name, value in params.segments.model_dump(exclude_none=True).items()},
        "split": params.split.method,
        "epochs": params.tune.epochs,
    }


@contextmanager
def _beside(workers: int, tell: Callable[[str], None]) -> Iterator[None]:
    """Other workers on this machine; those still there when the block is left by an error are ended."""
    command = [sys.executable, "-c", "from genreflow.cli import main; main()", "tune", "--worker"]
    started = [subprocess.Popen(command) for _ in range(workers)]
    try:
        yield
    except BaseException:
        for process in started:
            process.terminate()
        raise
    finally:
        for process in started:
            process.wait()
    for process in started:
        if code := process.returncode:
            how = (
                f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with an error (exit code {code})"
            )
            tell(f"worker {process.pid}, which worked beside this one, {how}; the study goes on without it")
