"""A study that is killed or interrupted at any moment runs the same trials as one that is not."""

import logging
import math
import os
import resource
import signal
from collections.abc import Callable

import optuna
import pytest
from sqlalchemy import Engine, event

from genreflow.interruption import Interruption
from genreflow.logs import exit_with_errors
from genreflow.models import Choice, Float
from genreflow.tuning.params import TuneParams
from genreflow.tuning.results import best_trial, count_trials
from genreflow.tuning.run_trial import InfeasibleError, Objective, TrialResult
from genreflow.tuning.search_space import SearchSpace
from genreflow.tuning.storage import open_storage
from genreflow.tuning.study import open_study, run_study
from genreflow.tuning.trial_states import CURVE, attempts_by_position
from sqlite_faults import signal_before_statement

# Trials beyond the first six, which are sampled at random; some are pruned, infeasible, or fail.
TUNE = TuneParams(
    architectures=("efficient", "parallel_cnn"), trials=12, epochs=4, startup_trials=3, warmup_epochs=1, max_params=1500
)
SPACE = SearchSpace(
    TUNE.architectures,
    learning_rate=None,
    fixed={},
    dimensions={
        "train.mixup": Float(low=0.0, high=0.4, default=0.2),
        "train.optimiser": Choice(values=(None, "sgd"), default=None),
    },
)


class Silent:
    """A tracker that records nothing."""

    def start(self, number, params, tags):
        pass

    def log_epoch(self, number, epoch, metrics):
        pass

    def end(self, number, status, *, tags, metrics):
        pass

    def run_id(self, number):
        return None

    def end_orphaned(self, states):
        pass


def objective(configuration, callback) -> TrialResult:
    mixup = configuration.train["mixup"]
    if 0.15 < mixup < 0.18:
        raise InfeasibleError("no model can be built")
    if mixup > 0.35:
        raise ValueError("the fit fails")
    callback.on_model_built({"parameters": 2000 if mixup < 0.03 else 1000})
    peak = (0.9 if configuration.architecture == "efficient" else 0.7) - mixup
    peak -= 0.1 * abs(math.log10(configuration.learning_rate) + 2)
    for epoch in range(TUNE.epochs):
        callback.on_epoch_end(epoch, {"val_track_accuracy": peak * (epoch + 1) / TUNE.epochs})
    return TrialResult(peak, TUNE.epochs, {"val_loss": 1 - peak, "valid_tracks": 100})


def run(storage: str, *, parallel: bool = False, objective: Objective = objective) -> optuna.Study:
    opened = open_storage(storage)
    study = open_study(TUNE, SPACE, opened, name="a-study")
    run_study(study, opened, objective, tune=TUNE, space=SPACE, tracker=Silent(), parallel=parallel)
    return study


def start(call: Callable[[], object]) -> int:
    """Call something in a process of its own, and return its ID."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            call()
            code = 0
        except KeyboardInterrupt:
            code = 130
        except SystemExit as error:
            code = error.code
        finally:
            os._exit(code)
    return child


def exit_code(child: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def start_with_signal(storage: str, number: int, at: int, *, parallel: bool = False) -> int:
    """Run the study in a process that gets a signal before its statement `at`, and return its ID."""

    def call() -> None:
        signal_before_statement(number, at)
        with Interruption():
            run(storage, parallel=parallel)

    return start(call)


def trials(study: optuna.Study) -> list[tuple]:
    """Return what the trials of a study ran, and how they ended, in the order of their positions."""
    lasts = [attempts[-1] for attempts in attempts_by_position(study).values()]
    return [
        (one.params, one.state, one.values, one.user_attrs.get(CURVE), one.user_attrs.get("error"), one.constraints)
        for one in lasts
    ]


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> tuple[list[tuple], dict, int]:
    """The trials of the uninterrupted study, its best one, and the number of its statements."""
    storage = f"sqlite:///{tmp_path_factory.mktemp('whole') / 'optuna.db'}"
    counted = []

    def count(*_):
        counted.append(1)

    event.listen(Engine, "before_cursor_execute", count)
    study = run(storage)
    event.remove(Engine, "before_cursor_execute", count)
    counts = count_trials(study)
    assert min(counts[state] for state in ("finished", "pruned", "infeasible", "failed")) > 0, counts
    best = best_trial(study, TUNE).to_dict()
    return trials(study), {**best, "number": None, "front": None}, len(counted)


# SIGINT and SIGTERM have the same handler.
@pytest.mark.parametrize(
    "number", [signal.SIGKILL, signal.SIGTERM, pytest.param(signal.SIGINT, marks=pytest.mark.slow)]
)
@pytest.mark.parametrize("share", [0.01, 0.1, 0.3, 0.5, 0.7, 0.9, 0.99])
def test_a_study_that_is_stopped_once_runs_the_same_trials(whole, tmp_path, number, share):
    same, best, statements = whole
    storage = f"sqlite:///{tmp_path / 'optuna.db'}"
    code = exit_code(start_with_signal(storage, number, round(share * statements)))
    assert code == (-number if number == signal.SIGKILL else 130)
    study = run(storage)
    assert trials(study) == same
    assert {**best_trial(study, TUNE).to_dict(), "number": None, "front": None} == best


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_study_that_is_stopped_again_and_again_runs_the_same_trials(whole, tmp_path, number):
    storage, stops = f"sqlite:///{tmp_path / 'optuna.db'}", 0
    at = whole[2] // 8
    while exit_code(start_with_signal(storage, number, at + 7 * stops)) != 0:
        stops += 1
    assert stops >= 5
    assert trials(run(storage)) == whole[0]


def test_a_study_whose_disk_was_full_runs_the_same_trials(whole, tmp_path, capfd):
    storage = f"sqlite:///{tmp_path / 'optuna.db'}"

    def on_a_full_disk() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        logging.raiseExceptions = False  # the limit holds for the file, too, in which pytest keeps what handlers print
        with exit_with_errors():
            open_storage(storage)
            resource.setrlimit(resource.RLIMIT_FSIZE, (300_000,) * 2)
            run(storage)

    assert exit_code(start(on_a_full_disk)) == 2
    printed = capfd.readouterr().err
    assert "disk" in printed  # SQLite: "disk I/O error" beyond a limit, "database or disk is full" otherwise
    assert printed.count("\n") == 1
    assert trials(run(storage)) == whole[0]


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_with_several_workers_no_trial_is_lost_and_the_first_ones_are_the_same(whole, tmp_path, share):
    storage, at = f"sqlite:///{tmp_path / 'optuna.db'}", round(share * whole[2] / 2)
    killed, of_victim = os.pipe()

    def run_a_third_until_the_other_is_killed() -> None:
        begun = []

        def held(configuration, callback) -> TrialResult:
            begun.append(1)
            if len(begun) == TUNE.trials // 3:  # or the other one may find too few trials to reach its statement
                os.read(killed, 1)  # ends with the process that has the other end of the pipe open
            return objective(configuration, callback)

        run(storage, parallel=True, objective=held)

    victim = start_with_signal(storage, signal.SIGKILL, at, parallel=True)
    os.close(of_victim)
    other = start(run_a_third_until_the_other_is_killed)
    os.close(killed)
    assert [exit_code(victim), exit_code(other)] == [-signal.SIGKILL, 0]
    study = open_study(TUNE, SPACE, open_storage(storage), name="a-study")
    found = trials(study)
    assert len(found) == TUNE.trials
    assert [one[0] for one in found][:2] == [one[0] for one in whole[0]][:2]
    assert list(attempts_by_position(study)) == list(range(TUNE.trials))
    for attempts in attempts_by_position(study).values():
        assert all(one.params.items() <= attempts[-1].params.items() for one in attempts)
