"""A project whose study takes seconds, and what tests read from its Optuna storage and MLflow store."""

import os
import signal
import sqlite3
import subprocess
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path

import optuna
import psutil

from genreflow.tuning.storage import open_storage
from genreflow.tuning.trial_states import WORKER
from pipeline import Project, quick_project
from waiting import wait_for

# Trials of some seconds, so that there is time to kill one.
STUDY = {"trials": 4, "epochs": 8, "architectures": ["efficient", "parallel_cnn"], "startup_trials": 99}


def study_project(folder: Path) -> Project:
    """A project that has run all stages before the study."""
    project = quick_project(folder)
    project.set(tune=STUDY)
    project.repro("split")
    project.commit("split")
    return project


@cache
def storage_of(url: str):
    # Opened once: each storage holds connections, of which PostgreSQL allows a hundred.
    return open_storage(url)


def study_of(project: Project, url: str | None = None) -> optuna.Study:
    """Return the only study, or the latest one."""
    storage = storage_of(url or f"sqlite:///{project.folder / 'optuna.db'}")
    latest = max(optuna.get_all_study_summaries(storage), key=lambda summary: summary.user_attrs["opened"])
    return optuna.load_study(study_name=latest.study_name, storage=storage)


def runs(client, name: str, **tags: str) -> list:
    """Return the run of a study, and those of its trials that have the tags."""
    experiment = client.get_experiment_by_name("genreflow").experiment_id
    parents = client.search_runs([experiment], f"tags.`genreflow.study` = '{name}'")
    assert len(parents) == 1
    children = client.search_runs([experiment], f"tags.`mlflow.parentRunId` = '{parents[0].info.run_id}'")
    return [parents[0], *(run for run in children if run.data.tags.items() >= tags.items())]


def start(
    project: Project, *command: str, log: Path | None = None, environment: dict | None = None
) -> subprocess.Popen:
    """Start a command in the project, in a process group of its own; its output goes to ``log``."""
    with (log or Path(os.devnull)).open("w") as output:
        return subprocess.Popen(
            command,
            cwd=project.folder,
            env=environment or project.environment,
            stdout=output,
            stderr=output,
            start_new_session=True,
            # A shell that runs the tests in the background makes them ignore SIGINT.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )


def running_trials(study: optuna.Study) -> dict[int, int]:
    """Return the number of the trial that each process runs, by process ID."""
    running = (trial for trial in study.get_trials() if trial.state.name == "RUNNING")
    return {trial.user_attrs[WORKER]["pid"]: trial.number for trial in running if WORKER in trial.user_attrs}


def stop_in_trial(
    study: Callable[[], optuna.Study],
    choose: Callable[[optuna.Study], int | None],
    process: subprocess.Popen,
    *,
    pause: float = 0.0,
) -> tuple[int, int]:
    """Suspend a process that runs a trial, so that the trial cannot end before the process is killed.

    Parameters
    ----------
    study : callable
        Returns the study, or raises what `wait_until` ignores.
    choose : callable
        Returns the ID of a process that runs a trial, or None as long as there is none to be suspended.
    process : Popen
        It must go on until then.
    pause : float >= 0 [s]
        How long after it was chosen; if its trial has ended meanwhile, another one is chosen.

    Returns
    -------
    pid, number : int
        The process, and the number of its trial.
    """
    while True:
        found: list[int] = []

        def is_found(found: list[int] = found) -> bool:
            found += [pid for pid in [choose(study())] if pid is not None]
            return bool(found)

        wait_until(is_found, process)
        (pid,) = found
        time.sleep(pause)
        os.kill(pid, signal.SIGSTOP)
        wait_for(lambda pid=pid: psutil.Process(pid).status() == psutil.STATUS_STOPPED)
        number = running_trials(study()).get(pid)
        if number is not None:
            return pid, number
        os.kill(pid, signal.SIGCONT)  # its trial has just ended


def wait_until(condition: Callable[[], bool], process: subprocess.Popen) -> None:
    """Wait until a condition about a study holds, which may not exist yet; the process must go on until then."""
    end = time.monotonic() + 900
    while True:
        try:
            if condition():
                return
        except (ValueError, KeyError, sqlite3.Error, optuna.exceptions.StorageInternalError):
            pass  # the study does not exist yet
        assert process.poll() is None, "the process has ended"
        assert time.monotonic() < end
        time.sleep(0.1)
