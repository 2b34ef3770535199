"""Several workers of one study, on SQLite and on a real PostgreSQL: no trial is lost or run twice."""

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import optuna
import pytest

from genreflow.errors import GenreflowError
from genreflow.tuning.results import count_trials
from genreflow.tuning.sampling import published_parameters
from genreflow.tuning.storage import GRACE_PERIOD_S, HEARTBEAT_INTERVAL_S, open_storage
from genreflow.tuning.study import POLL_INTERVAL_S
from genreflow.tuning.trial_states import POSITION, finished_trials, retry_of
from postgresql_server import create_database, postgresql
from study_worker import ARCHITECTURES, EPOCHS, MACHINE, NAME, SPACE
from study_worker import GRACE_PERIOD_S as SHORT_GRACE_PERIOD_S
from study_worker import HEARTBEAT_INTERVAL_S as SHORT_HEARTBEAT_INTERVAL_S

WORKER = Path(__file__).with_name("study_worker.py")


def start(storage: str, trials: int, seconds: float, *name: str, machine: str = "") -> subprocess.Popen:
    command = [sys.executable, str(WORKER), storage, str(trials), str(seconds), *name]
    environment = os.environ | {MACHINE: machine}
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment)


def join(workers: list[subprocess.Popen]) -> list[str]:
    """Wait until all workers have ended by themselves, and return the lines that they printed."""
    try:
        printed = [worker.communicate(timeout=120)[0] for worker in workers]
        assert [worker.returncode for worker in workers] == [0] * len(workers), "\n".join(printed)
        return [line for text in printed for line in text.splitlines()]
    finally:
        for worker in workers:
            worker.kill()
            worker.wait()


def wait_for_trial(worker: subprocess.Popen) -> int:
    """Wait until a worker starts a trial, and return its number."""
    line = worker.stdout.readline()
    while not line.startswith("start"):
        assert line, "the worker ended before it started a trial"
        line = worker.stdout.readline()
    return int(line.split()[1])


def kill_in_trial(worker: subprocess.Popen) -> int:
    """Send SIGKILL to a worker in its next trial, and return the number of that trial."""
    number = wait_for_trial(worker)
    os.kill(worker.pid, signal.SIGKILL)
    worker.communicate()
    return number


@pytest.fixture(scope="module", params=["sqlite", pytest.param("postgresql", marks=pytest.mark.slow)])
def storages(request, tmp_path_factory):
    """A function from a name to the URL of a new storage."""
    folder = tmp_path_factory.mktemp("storage")
    if request.param == "sqlite":
        yield lambda name: f"sqlite:///{folder / name}.db"
    else:
        with postgresql() as server:
            yield lambda name: create_database(server, name)


def load(storage: str, name: str = NAME) -> optuna.Study:
    return optuna.load_study(study_name=name, storage=open_storage(storage))


def repeated(study: optuna.Study) -> list[int]:
    return [number for trial in study.get_trials() if (number := retry_of(trial)) is not None]


def test_workers_start_exactly_the_trials_of_the_study(storages):
    storage = storages("shared")
    lines = join([start(storage, trials=10, seconds=0.02) for _ in range(3)])
    study = load(storage)
    started = [line.split() for line in lines if line.startswith("start")]
    assert Counter(number for _, number, _ in started) == {str(number): 1 for number in range(10)}
    assert len({pid for _, _, pid in started}) > 1, "one worker ran all trials"
    assert count_trials(study)["finished"] == 10
    assert [trial.user_attrs[POSITION] for trial in study.get_trials()] == list(range(10))
    # Only one of them queued the published configurations.
    published = [published_parameters(name, SPACE) for name in ARCHITECTURES]
    assert [trial.params for trial in study.get_trials()][: len(published)] == published


@pytest.mark.slow
def test_the_trial_of_a_killed_worker_is_repeated_by_another_one(storages):
    storage = storages("killed")
    victim, *others = [start(storage, trials=9, seconds=0.1) for _ in range(3)]
    interrupted = kill_in_trial(victim)
    join(others)
    study = load(storage)
    trials = study.get_trials()
    again = [trial for trial in trials if retry_of(trial) == interrupted]
    assert len(again) == 1
    assert again[0].params == trials[interrupted].params
    assert trials[interrupted].state.name == "FAIL"
    assert count_trials(study) == {"finished": 9, "pruned": 0, "infeasible": 0, "failed": 0, "interrupted": 1}
    assert len(trials) == 10
    assert len(finished_trials(study)) == 9


def test_a_killed_study_repeats_the_interrupted_trial_at_once(storages):
    storage = storages("resumed")
    interrupted = kill_in_trial(start(storage, trials=4, seconds=0.2))
    lines = join([start(storage, trials=4, seconds=0.01)])
    assert not any(line.startswith("waiting") for line in lines)
    study = load(storage)
    assert count_trials(study)["finished"] == 4
    assert repeated(study) == [interrupted]
    assert retry_of(study.get_trials()[interrupted + 1]) == interrupted


def test_a_trial_of_another_machine_is_repeated_after_its_last_heartbeat(storages):
    storage = storages("elsewhere")
    interrupted = kill_in_trial(start(storage, trials=4, seconds=0.2, machine="one"))
    killed = time.time()
    join([start(storage, trials=4, seconds=0.01, machine="two")])
    study = load(storage)
    assert count_trials(study)["finished"] == 4
    assert count_trials(study)["interrupted"] == 1
    assert repeated(study) == [interrupted]
    again = next(trial for trial in study.get_trials() if retry_of(trial) == interrupted)
    slack = 20.0  # to start a process on a busy machine
    allowed = SHORT_GRACE_PERIOD_S + POLL_INTERVAL_S + slack
    heartbeat = SHORT_HEARTBEAT_INTERVAL_S + 1  # they are stored in whole seconds
    assert SHORT_GRACE_PERIOD_S - heartbeat < again.datetime_start.timestamp() - killed < allowed


def test_a_killed_worker_is_detected_within_a_minute():
    assert GRACE_PERIOD_S + HEARTBEAT_INTERVAL_S + POLL_INTERVAL_S < 60
    assert GRACE_PERIOD_S >= 3 * HEARTBEAT_INTERVAL_S, "one delayed heartbeat would cost a trial"


@pytest.mark.slow
def test_a_trial_that_takes_longer_than_the_grace_period_is_left_to_its_worker(storages):
    storage = storages("slow_trials")
    seconds = 2 * SHORT_GRACE_PERIOD_S / EPOCHS
    join([start(storage, trials=2, seconds=seconds) for _ in range(3)])
    assert count_trials(load(storage)) == {"finished": 2, "pruned": 0, "infeasible": 0, "failed": 0, "interrupted": 0}


@pytest.mark.slow
def test_two_studies_in_one_storage_do_not_affect_each_other(storages):
    storage = storages("two")
    join([start(storage, 8, 0.02), start(storage, 6, 0.02, "other")])
    assert count_trials(load(storage))["finished"] == 8
    assert count_trials(load(storage, "other"))["finished"] == 6


def test_a_storage_that_cannot_be_opened_is_named_without_its_password():
    with pytest.raises(GenreflowError) as caught:
        open_storage("postgresql://me:secret@127.0.0.1:1/optuna")
    assert "postgresql://me:***@127.0.0.1:1/optuna" in str(caught.value)
    assert "secret" not in str(caught.value)
