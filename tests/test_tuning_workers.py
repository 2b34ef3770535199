"""Several workers of one study, on SQLite and on a real PostgreSQL: no trial is lost or run twice."""

import os
import signal
import subprocess
import sys
from collections import Counter
from datetime import datetime, timedelta
from pathlib import Path

import optuna
import pytest
from optuna.storages._rdb.models import TrialHeartbeatModel
from sqlalchemy import func, select

from genreflow.errors import GenreflowError
from genreflow.tuning.results import count_trials
from genreflow.tuning.sampling import published_parameters
from genreflow.tuning.storage import GRACE_PERIOD_S, HEARTBEAT_INTERVAL_S, open_storage
from genreflow.tuning.study import POLL_INTERVAL_S
from genreflow.tuning.trial_states import POSITION, finished_trials, retry_of
from postgresql_server import create_database, postgresql
from study_worker import ARCHITECTURES, EPOCHS, MACHINE, NAME, SPACE
from study_worker import GRACE_PERIOD_S as WORKER_GRACE_PERIOD_S

WORKER = Path(__file__).with_name("study_worker.py")
# Eight heartbeats: on a busy machine some come late, and elsewhere in this file none is needed.
SHORT_GRACE_PERIOD_S = 8


def start(
    storage: str,
    trials: int,
    seconds: float,
    *name: str,
    machine: str = "",
    held: bool = False,
    grace_period: int = 300,
) -> subprocess.Popen:
    """Start a worker; one that is held stays in its first trial until its standard input is closed, as `join` does."""
    command = [sys.executable, str(WORKER), storage, str(trials), str(seconds), *name]
    return subprocess.Popen(
        command,
        stdin=subprocess.PIPE if held else subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=os.environ | {MACHINE: machine, WORKER_GRACE_PERIOD_S: str(grace_period)},
    )


def join(workers: list[subprocess.Popen]) -> list[str]:
    """Wait until all workers have ended by themselves, and return the lines that they printed."""
    try:
        for worker in workers:
            if worker.stdin is not None:
                worker.stdin.close()
                worker.stdin = None  # as `communicate` expects it
        printed = [worker.communicate(timeout=300)[0] for worker in workers]
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
    """Send SIGKILL to a worker that is held in its first trial, and return the number of that trial."""
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


def last_heartbeat(study: optuna.Study, number: int) -> datetime:
    """Return the time of the last heartbeat of a trial, on the clock of `datetime.now`, rounded to a second."""
    now = datetime.now()
    trial = next(trial for trial in study.get_trials() if trial.number == number)
    written = TrialHeartbeatModel.heartbeat
    with study._storage._backend.engine.connect() as connection:
        query = select(func.now(), written).where(TrialHeartbeatModel.trial_id == trial._trial_id)
        there, heartbeat = connection.execute(query).one()
    return now - (there.replace(tzinfo=None) - heartbeat)


def repeated(study: optuna.Study) -> list[int]:
    return [number for trial in study.get_trials() if (number := retry_of(trial)) is not None]


def test_workers_start_exactly_the_trials_of_the_study(storages):
    storage = storages("shared")
    workers = [start(storage, trials=10, seconds=0.02, held=True) for _ in range(3)]
    # Held, as one worker could otherwise run all trials before the others have started.
    first = [["start", str(wait_for_trial(worker)), str(worker.pid)] for worker in workers]
    lines = join(workers)
    study = load(storage)
    started = first + [line.split() for line in lines if line.startswith("start")]
    assert Counter(number for _, number, _ in started) == {str(number): 1 for number in range(10)}
    assert len({pid for _, _, pid in started}) == 3
    assert count_trials(study)["finished"] == 10
    assert [trial.user_attrs[POSITION] for trial in study.get_trials()] == list(range(10))
    # Only one of them queued the published configurations.
    published = [published_parameters(name, SPACE) for name in ARCHITECTURES]
    assert [trial.params for trial in study.get_trials()][: len(published)] == published


@pytest.mark.slow
def test_the_trial_of_a_killed_worker_is_repeated_by_another_one(storages):
    storage = storages("killed")
    victim, *others = [start(storage, trials=9, seconds=0.1, held=True) for _ in range(3)]
    for other in others:
        wait_for_trial(other)
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
    interrupted = kill_in_trial(start(storage, trials=4, seconds=0.2, held=True))
    lines = join([start(storage, trials=4, seconds=0.01)])
    assert not any(line.startswith("waiting") for line in lines)
    study = load(storage)
    assert count_trials(study)["finished"] == 4
    assert repeated(study) == [interrupted]
    assert retry_of(study.get_trials()[interrupted + 1]) == interrupted


def test_a_trial_of_another_machine_is_repeated_after_its_last_heartbeat(storages):
    storage = storages("elsewhere")
    grace = {"grace_period": SHORT_GRACE_PERIOD_S}
    interrupted = kill_in_trial(start(storage, trials=4, seconds=0.2, machine="one", held=True, **grace))
    study = load(storage)
    heartbeat = last_heartbeat(study, interrupted)
    join([start(storage, trials=4, seconds=0.01, machine="two", **grace)])
    assert count_trials(study)["finished"] == 4
    assert count_trials(study)["interrupted"] == 1
    assert repeated(study) == [interrupted]
    again = next(trial for trial in study.get_trials() if retry_of(trial) == interrupted)
    # Before, the worker starts, which may take long on a busy machine, and runs its own trials.
    own = [trial.datetime_complete for trial in study.get_trials() if trial.number not in (interrupted, again.number)]
    stale = heartbeat + timedelta(seconds=SHORT_GRACE_PERIOD_S)
    rounding = timedelta(seconds=1)  # heartbeats are stored in whole seconds
    slack = timedelta(seconds=30)  # of a busy machine
    assert again.datetime_start >= stale - rounding
    assert again.datetime_start < max(stale, *own) + rounding + timedelta(seconds=POLL_INTERVAL_S) + slack


def test_a_killed_worker_is_detected_within_a_minute():
    assert GRACE_PERIOD_S + HEARTBEAT_INTERVAL_S + POLL_INTERVAL_S < 60
    assert GRACE_PERIOD_S >= 3 * HEARTBEAT_INTERVAL_S, "one delayed heartbeat would cost a trial"


@pytest.mark.slow
def test_a_trial_that_takes_longer_than_the_grace_period_is_left_to_its_worker(storages):
    storage = storages("slow_trials")
    seconds = 2 * SHORT_GRACE_PERIOD_S / EPOCHS
    join([start(storage, trials=2, seconds=seconds, grace_period=SHORT_GRACE_PERIOD_S) for _ in range(3)])
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
