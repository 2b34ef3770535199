"""Jobs on a Dask cluster: results, checks of the workers, and errors of the cluster."""

import math
import os
import sys
import threading
import time
from pathlib import Path

import pytest

from dask_cluster import running
from genreflow import distributed
from genreflow.distributed import run_jobs
from genreflow.errors import GenreflowError, ParameterError
from genreflow.files import read_json, write_json
from waiting import wait_for

Client = pytest.importorskip("distributed").Client


@pytest.fixture(autouse=True)
def patient(monkeypatch):
    """On a busy machine, a connection may take longer than users wait for it."""
    monkeypatch.setattr(distributed, "_CONNECT_SECONDS", 300)


@pytest.fixture(scope="module")
def two_workers(tmp_path_factory):
    with running(tmp_path_factory.mktemp("dask") / "elsewhere", workers=2) as started:
        yield started


@pytest.fixture
def state(tmp_path):
    """A file that all workers see, with the values that they must have."""
    path = tmp_path / "state.json"
    write_json(path, {"value": 1})
    return path


def run(scheduler, function, jobs, state: Path) -> list:
    return list(run_jobs(scheduler, function, jobs, describe=read_json, path=state, expected={"value": 1}))


def test_results_of_all_jobs(two_workers, state):
    assert sorted(run(two_workers.address, math.sqrt, (float(n * n) for n in range(50)), state)) == list(range(50))


def test_jobs_are_submitted_as_workers_become_free(two_workers, state):
    submitted = []

    def jobs():
        while True:
            submitted.append(0.0)
            yield 0.0

    results = run_jobs(two_workers.address, math.sqrt, jobs(), describe=read_json, path=state, expected={"value": 1})
    for count in range(1, 21):
        assert next(results) == 0
        assert len(submitted) <= count + 2 * 2 + 1
    results.close()


def test_the_error_names_the_worker_the_value_and_both_its_states(two_workers, state):
    write_json(state, {"value": 2})
    with pytest.raises(ParameterError, match=r"Dask worker tcp://.*: value must be 1, .*; got 2"):
        run(two_workers.address, math.sqrt, [4.0], state)


def test_a_worker_is_checked_before_its_first_job_too(two_workers, state):
    def jobs():
        write_json(state, {"value": 3})  # after the check of all workers, like one that joins late
        yield 4.0

    with pytest.raises(ParameterError, match=r"Dask worker tcp://.*: value must be 1, .*; got 3"):
        run(two_workers.address, math.sqrt, jobs(), state)


def test_a_worker_that_does_not_see_the_path_is_named(two_workers, state):
    state.unlink()
    with pytest.raises(ParameterError, match=rf"Dask worker tcp://.*{state}.*FileNotFoundError"):
        run(two_workers.address, math.sqrt, [4.0], state)


def test_the_exception_of_a_job_is_raised(two_workers, state):
    with pytest.raises(ValueError, match=r"domain|nonnegative"):
        run(two_workers.address, math.sqrt, [-1.0], state)


def test_the_error_names_a_scheduler_that_does_not_answer(state, monkeypatch):
    monkeypatch.setattr(distributed, "_CONNECT_SECONDS", 1)
    for address in ("tcp://127.0.0.1:9", "nonsense://x", "not an address"):
        with pytest.raises(ParameterError, match=f"Dask scheduler {address}: "):
            run(address, math.sqrt, [4.0], state)


def test_the_error_names_a_scheduler_without_workers(tmp_path, state, monkeypatch):
    wait = Client.wait_for_workers
    monkeypatch.setattr(Client, "wait_for_workers", lambda client, number, timeout: wait(client, number, timeout=1))
    with running(tmp_path / "elsewhere") as started, pytest.raises(ParameterError, match="worker"):
        run(started.address, math.sqrt, [4.0], state)


def test_the_error_names_the_extra_when_dask_is_missing(state, monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(ParameterError, match=r"genreflow\[dask\]"):
        run("tcp://127.0.0.1:9", math.sqrt, [4.0], state)


@pytest.mark.slow
def test_a_job_that_kills_its_workers_is_reported(tmp_path, state):
    with (
        running(tmp_path / "elsewhere", workers=1, DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES="0") as started,
        pytest.raises(GenreflowError, match=r"Dask worker tcp://.*: was killed"),
    ):
        run(started.address, os._exit, [1], state)


@pytest.mark.slow
def test_a_lost_scheduler_is_reported(tmp_path, state):
    with running(tmp_path / "elsewhere", workers=1) as started:
        submitted = threading.Event()

        def jobs():
            yield 60
            submitted.set()

        threading.Thread(target=lambda: (submitted.wait(), time.sleep(1), started.processes[0].kill())).start()
        with pytest.raises(GenreflowError, match=r"Dask scheduler tcp://.*: the connection was lost"):
            run(started.address, time.sleep, jobs(), state)
    wait_for(submitted.is_set)
