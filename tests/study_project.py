"""A project with a study of seconds, and what a test looks up about it in Optuna's and MLflow's stores."""

import os
import sqlite3
import subprocess
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path

import optuna

from genreflow.tuning.storage import open_storage
from pipeline import Project, quick_project

# A trial of some seconds, so that there is time to kill one.
STUDY = {"trials": 4, "epochs": 8, "architectures": ["efficient", "parallel_cnn"], "startup_trials": 99}


def study_project(folder: Path) -> Project:
    """A project that needs nothing but its study."""
    project = quick_project(folder)
    project.set(tune=STUDY)
    project.repro("split")
    project.commit("split")
    return project


@cache
def storage_of(url: str):
    # Opened once: every one of them holds connections, of which PostgreSQL has a hundred.
    return open_storage(url)


def study_of(project: Project, url: str | None = None) -> optuna.Study:
    """The only study, or the latest."""
    storage = storage_of(url or f"sqlite:///{project.folder / 'optuna.db'}")
    latest = max(optuna.get_all_study_summaries(storage), key=lambda summary: summary._study_id)
    return optuna.load_study(study_name=latest.study_name, storage=storage)


def runs(client, name: str, **tags: str) -> list:
    experiment = client.get_experiment_by_name("genreflow").experiment_id
    parents = client.search_runs([experiment], f"tags.`genreflow.study` = '{name}'")
    assert len(parents) == 1, "a study is one run, however often it is started"
    children = client.search_runs([experiment], f"tags.`mlflow.parentRunId` = '{parents[0].info.run_id}'")
    return [parents[0], *(run for run in children if run.data.tags.items() >= tags.items())]


def start(
    project: Project, *command: str, log: Path | None = None, environment: dict | None = None
) -> subprocess.Popen:
    """A command in the project, in a group of its own; what it says goes to ``log``."""
    with (log or Path(os.devnull)).open("w") as said:
        return subprocess.Popen(
            command,
            cwd=project.folder,
            env=environment or project.environment,
            stdout=said,
            stderr=said,
            start_new_session=True,
        )


def busy(study: optuna.Study) -> dict[int, int]:
    """The trial that each process is at."""
    running = (trial for trial in study.get_trials() if trial.state.name == "RUNNING")
    return {trial.user_attrs["process"]["pid"]: trial.number for trial in running if "process" in trial.user_attrs}


def wait_until(holds: Callable[[], bool], process: subprocess.Popen) -> None:
    """Until something holds in a study that perhaps is not there yet."""
    end = time.monotonic() + 240
    while True:
        try:
            if holds():
                return
        except (ValueError, KeyError, sqlite3.Error, optuna.exceptions.StorageInternalError):
            pass  # the study is not there yet
        assert process.poll() is None, "it ended before"
        assert time.monotonic() < end
        time.sleep(0.1)
