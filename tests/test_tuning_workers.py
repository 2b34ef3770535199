"""Several workers on one study, on SQLite and on a real PostgreSQL: none of their trials is lost or counted twice."""

import os
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import optuna
import pytest

from genreflow.errors import GenreflowError
from genreflow.tuning.results import counts
from genreflow.tuning.storage import began_as, open_storage, over
from postgresql_server import create_database, postgresql
from study_worker import ARCHITECTURES, EPOCHS, HURRY, NAME

WORKER = Path(__file__).with_name("study_worker.py")


def start(storage: str, trials: int, seconds: float, *machine: str) -> subprocess.Popen:
    command = [sys.executable, str(WORKER), storage, str(trials), str(seconds), *machine]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def ends(workers: list[subprocess.Popen]) -> list[str]:
    """What they printed, when all have come to their end by themselves."""
    try:
        said = [worker.communicate(timeout=120)[0] for worker in workers]
        assert [worker.returncode for worker in workers] == [0] * len(workers), "\n".join(said)
        return [line for text in said for line in text.splitlines()]
    finally:
        for worker in workers:
            worker.kill()
            worker.wait()


def kill_in_a_trial(worker: subprocess.Popen) -> int:
    """Wait for a worker's next trial, kill it there with -9, and say which trial that was."""
    line = worker.stdout.readline()
    while not line.startswith("begin"):
        assert line, "the worker ended before it began a trial"
        line = worker.stdout.readline()
    os.kill(worker.pid, signal.SIGKILL)
    worker.communicate()
    return int(line.split()[1])


@pytest.fixture(scope="module", params=["sqlite", pytest.param("postgresql", marks=pytest.mark.slow)])
def storages(request, tmp_path_factory):
    """From a name to the URL of a storage of its own."""
    folder = tmp_path_factory.mktemp("storage")
    if request.param == "sqlite":
        yield lambda name: f"sqlite:///{folder / name}.db"
    else:
        with postgresql() as server:
            yield lambda name: create_database(server, name)


def opened(storage: str) -> optuna.Study:
    return optuna.load_study(study_name=NAME, storage=open_storage(storage))


def test_workers_share_a_study_to_the_trial(storages):
    storage = storages("shared")
    lines = ends([start(storage, trials=10, seconds=0.02) for _ in range(3)])
    study = opened(storage)
    begun = Counter(line.split()[1] for line in lines if line.startswith("begin"))
    assert begun == {str(number): 1 for number in range(10)}
    assert len({line.split()[2] for line in lines if line.startswith("begin")}) > 1, "one worker did it all"
    assert counts(study)["finished"] == 10
    # What is known to be good was queued by one of them alone.
    queued = [trial for trial in study.get_trials() if "fixed_params" in trial.system_attrs]
    assert [trial.params["architecture"] for trial in queued] == list(ARCHITECTURES)


@pytest.mark.slow
def test_of_three_workers_one_is_killed_and_no_trial_is_lost(storages):
    storage = storages("killed")
    victim, *others = [start(storage, trials=9, seconds=0.1) for _ in range(3)]
    cut_off = kill_in_a_trial(victim)
    ends(others)
    study = opened(storage)
    trials = study.get_trials()
    again = [trial for trial in trials if began_as(trial) == cut_off]
    assert len(again) == 1
    assert again[0].params == trials[cut_off].params
    assert trials[cut_off].state.name == "FAIL"
    assert counts(study) == {"finished": 9, "pruned": 0, "infeasible": 0, "failed": 0, "interrupted": 1}
    assert len(trials) == 10
    assert len(over(study)) == 9


def test_a_study_that_was_killed_goes_on_at_once(storages):
    storage = storages("resumed")
    cut_off = kill_in_a_trial(start(storage, trials=4, seconds=0.2))
    ends([start(storage, trials=4, seconds=0.01)])
    study = opened(storage)
    assert counts(study)["finished"] == 4
    assert counts(study)["interrupted"] == 1
    assert [began_as(trial) for trial in study.get_trials() if began_as(trial) is not None] == [cut_off]


@pytest.mark.slow
def test_who_died_on_another_machine_is_missed_by_the_heartbeat_and_who_lives_is_left_alone(storages):
    storage = storages("elsewhere")
    seconds = 3 * HURRY["GRACE_S"] / EPOCHS  # longer than a dead one is waited for
    cut_off = kill_in_a_trial(start(storage, 3, seconds, "there"))
    begun = [line.split() for line in ends([start(storage, 3, seconds, machine) for machine in ("here", "yonder")])]
    study = opened(storage)
    assert counts(study) == {"finished": 3, "pruned": 0, "infeasible": 0, "failed": 0, "interrupted": 1}
    assert [began_as(trial) for trial in study.get_trials() if began_as(trial) is not None] == [cut_off]
    assert len({pid for what, _, pid, *_ in begun if what == "begin"}) == 2


@pytest.mark.slow
def test_two_studies_in_one_storage_do_not_touch_each_other(storages, tmp_path):
    storage = storages("two")
    other = tmp_path / "other.py"
    other.write_text(WORKER.read_text().replace('"of-many"', '"other"'))
    command = [sys.executable, str(other), storage, "6", "0.02"]
    second = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    ends([start(storage, trials=8, seconds=0.02), second])
    assert counts(opened(storage))["finished"] == 8
    assert counts(optuna.load_study(study_name="other", storage=open_storage(storage)))["finished"] == 6


def test_a_storage_that_is_not_there_is_named_without_its_password():
    with pytest.raises(GenreflowError) as caught:
        open_storage("postgresql://me:secret@127.0.0.1:1/optuna")
    assert "postgresql+psycopg://me:***@127.0.0.1:1/optuna, cannot be opened" in str(caught.value)
    assert "secret" not in str(caught.value)
